// How the page talks: over HTTP to the server of `vedit gif serve`, or through a notebook's kernel.
//
// Both: call(kind, args), a promise of the answer, which fails with {text, stage, option, code};
// addSource(file, progress), addFile(file, progress); blob(id, isResult), the bytes of a file; picture(id, number)
// and thumbs(id, from, count, height), ImageBitmaps; address(id, isResult) or null; listen(heard).

import { t } from "./words.js";

const CHUNK = 4 * 2 ** 20; // a notebook's messages stay below the limits of servers between
const READS = /^(controls|session|presets|preset\/.*|timeline\/.*)$/;

export class Refused extends Error {
  constructor(error, status = 0) {
    super(error?.text ?? `HTTP ${status}`);
    Object.assign(this, { stage: error?.stage ?? null, option: error?.option ?? null, code: error?.code ?? 0, status });
  }
}

const answered = async (response) => {
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Refused(told.error, response.status);
};

export const overHttp = () => {
  const sent = async (address, how) => answered(await fetch(address, how).catch(() => { throw new Refused({ text: t("no_answer") }); }));
  const get = (address) => sent(address);
  const post = (kind, args) => sent(kind, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(args) });
  // XMLHttpRequest, since fetch does not tell how much is sent.
  const put = (kind, file, progress) => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `${kind}?name=${encodeURIComponent(file.name || "pasted")}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => progress?.(event.loaded / (event.total || 1));
    request.onerror = () => reject(new Refused({ text: t("no_answer") }));
    request.onload = () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* not ours */ }
      if (request.status < 400) resolve(told); else reject(new Refused(told.error, request.status));
    };
    request.send(file);
  });
  const path = (id, isResult) => `${isResult ? "result" : "source"}/${id}`;
  const bitmap = async (address) => createImageBitmap(await (await get(address)).blob());
  return {
    call: async (kind, args) => (await (READS.test(kind) ? get(kind) : post(kind, args ?? {}))).json(),
    addSource: (file, progress) => put("source", file, progress),
    addFile: (file, progress) => put("file", file, progress),
    blob: async (id, isResult) => (await get(path(id, isResult))).blob(),
    picture: (id, number) => bitmap(`frame/${id}/${number}.webp`),
    thumbs: (id, from, count, height) => bitmap(`thumbs/${id}?from=${from}&count=${count}&height=${height}`),
    address: path,
    listen: (heard) => {
      const events = new EventSource("events");
      let times = 0;
      events.onopen = () => { times += 1; if (times > 1) heard({ again: true }); };
      events.onmessage = (event) => {
        const told = JSON.parse(event.data);
        if (told.ended) events.close();
        heard(told);
      };
    },
  };
};

// Through an anywidget model: {id, call, args} with buffers there, {id, answer | error} with buffers back, and
// {event} at any time. Files go in chunks, each answered before the next is sent.
export const overModel = (model) => {
  const waiting = new Map();
  let [last, heard] = [0, () => {}];
  model.on("msg:custom", (message, buffers) => {
    if (message.event) { heard(message.event); return; }
    const one = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error) one?.reject(new Refused(message.error)); else one?.resolve([message.answer, buffers]);
  });
  const ask = (call, args, buffers = []) => new Promise((resolve, reject) => {
    last += 1;
    waiting.set(last, { resolve, reject });
    model.send({ id: last, call, args }, undefined, buffers);
  });
  const send = async (kind, file, progress) => {
    const [{ upload }] = await ask("begin", { kind, name: file.name || "pasted", bytes: file.size });
    for (let from = 0, number = 0; from < file.size; from += CHUNK, number += 1) {
      await ask("chunk", { upload, number }, [await file.slice(from, from + CHUNK).arrayBuffer()]);
      progress?.(Math.min(1, (from + CHUNK) / file.size));
    }
    return (await ask("end", { upload }))[0];
  };
  const bitmap = async (call, args) => {
    const [, [data]] = await ask(call, args);
    return createImageBitmap(new Blob([data], { type: "image/webp" }));
  };
  return {
    call: async (kind, args) => (await ask("call", { kind, args: args ?? {} }))[0],
    addSource: (file, progress) => send("source", file, progress),
    addFile: (file, progress) => send("file", file, progress),
    blob: async (id) => {
      const parts = [];
      let [size, type] = [1, ""];
      for (let from = 0; from < size; from += CHUNK) {
        const [answer, [data]] = await ask("read", { id, from, count: CHUNK });
        ({ size, type } = answer);
        parts.push(data);
      }
      return new Blob(parts, { type });
    },
    picture: (id, number) => bitmap("frame", { id, number }),
    thumbs: (id, from, count, height) => bitmap("thumbs", { id, from, count, height }),
    address: () => null,
    listen: (callback) => { heard = callback; },
  };
};
