// Clips by their id: through the browser's decoder where it has one for the file, else image by image from the
// server.

import { decoderOf, makeClip } from "./player.js";

export const clipsOf = (transport) => {
  const delaysOf = async (id, facts) => facts.delays_cs ?? (await transport.call(`timeline/${id}`)).delays_cs;
  const open = async (id, facts, blob) => {
    const delays = await delaysOf(id, facts);
    const shape = { width: facts.width, height: facts.height, delays: delays.length ? delays : [10] };
    const decoder = blob && await decoderOf(blob, facts.format).catch(() => null);
    if (decoder?.count === shape.delays.length) return makeClip(shape, decoder.decode, decoder.close);
    decoder?.close();
    return makeClip(shape, (number) => transport.picture(id, number + 1));
  };
  return { delaysOf, open };
};
