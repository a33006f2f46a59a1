"""What the page and the server say to each other; the notebook says the same through its own transport.

Every address begins with `/KEY/`, and the page names them relative to its own (`fetch("controls")`), so that
it knows no key. Bodies of POST are JSON objects (`content-type: application/json`), those of PUT the bytes of
a file (`application/octet-stream`). Answers are JSON unless said. Fields that are not named here are ignored.

    GET  ./                     the page, `static/page.html`
    GET  static/NAME            a file of `vedit/ui/static`: what lies there, by its name

What there is

    GET  controls      {version, stages: [STAGE], output: [CONTROL], formats: [FORMAT]}
    GET  session       {version, mode, sources: [SOURCE], chain: CHAIN, output: OUTPUT, output_name,
                        max_upload, presets: [PRESET]}
                       mode: "file" (-o FILE: Done), "folder" (-O DIR: Save) or "" (download alone).
                       output_name: the base name behind -o, else ""; its suffix fixes the format.
                       chain, output: where the page begins, from --preset.
    GET  presets       [PRESET]
    GET  preset/NAME   {name, chain: CHAIN}

    STAGE     {name, summary, positional, options: [CONTROL], ways: [{what, needs_one, ways: [WAY]}]}
              positional: the option that may be given without its name, or null.
    WAY       {name, options: [NAME]}: options of one `ways` exclude those of its other ways
    CONTROL   {name, kind, help, metavar?, default?, low?, high?, usual?: [low, high, step], unit?, names?,
               is_multiline?, negatable?, holds?}
              default: the text that means the same as leaving the option out. names: of a choice or
              of words. holds: of a file: "font", "picture", "captions". Kinds are below.
    FORMAT    {name: "gif", media: "image/gif"}
    PRESET    {name, summary, is_own}
    SOURCE    {source: ID, name, bytes, facts} or {source: ID, name, error: ERROR}; facts: those of
              `vedit probe --json`
    CHAIN     [[stage, {option: text}], ...]: texts as they are typed on the command line, and options by
              their names (font-size); a switch is "true" or "false". An option that is left out has its
              default. A file is "upload:ID".
    OUTPUT    {name: text} of the `output` controls; what is left out has its default. `format` is one of
              FORMAT's names, "gif" by default.

Kinds of control: "range", "log-range", "choice", "words" (several of `names`, with commas), "switch",
"switch" with negatable (on, off, or neither), "text", "lines", "colour" (#rrggbb), "ground" (a colour,
`transparent` or `blurred`), "length" (12 or 10%), "size" (WxH), "aspect" (W:H), "rectangle" (WxH+X+Y),
"regions" (WxH+X+Y or WxH+X+Y@T-T), "point" (X,Y, each a length), "spans" (1-20,35,50-), "moments" (1.5-4, in
seconds), "rules" (1-5=10 6=50 last=200 8-=*0.5 all=+2), "delay" (cs), "loop", "file" (upload:ID). A kind that
is not known is a text box.

Files

    PUT  source?name=cat.gif   SOURCE; 422 for what no clip can be read from
    PUT  file?name=logo.png    {file: "upload:ID", name, bytes}: for options of kind file
    GET  source/ID             the bytes, with Range

Making results. JOB is {source: ID, chain: CHAIN, output: OUTPUT, first?: N, page?: TEXT}; first: take only so
many images of the source, for a quick look at something large. page: which page asks, any text of up to 40
characters: a newer run of a page ends the running one of the same page, and no other.

    POST run {JOB}       {revision, report?} at once. With report the result is there already, and no event
                         follows; else events tell.
    POST plan {JOB}      {revision, path, steps, size_in, size_out, warnings}: checks the job and gives it a
                         name for frame/, thumbs/ and timeline/, and makes nothing
    POST cancel {page?}  {}: ends what runs for a page
    POST measure {JOB, stage: N}
                         {width, height, boxes: [[x, y, w, h], ...], warnings}: canvas of the input of the
                         stage N (from 0) of the chain, and what the stage marks on it: the rectangle that
                         crop keeps (its border too, with auto), the drawing of watermark (as large as it is,
                         not cut at the canvas), the regions of blur; of other stages none
    GET  events          server-sent events, each `data: JSON`:
                         {revision, image, total}    total: null where it is not known
                         {revision, report: REPORT}
                         {revision, error: ERROR}
                         {revision, superseded: true}
                         {ended: TEXT}    the server ends: "done" or "stopped"

    GET  result/REV             the file, with Range
    GET  frame/ID/N.webp        image N (from 1) of a source or of a revision, whole and lossless, as a page
    GET  frame/REV/N.webp       shows it before palettes are made; 404 behind the last one. A revision needs
                                no result for this: `plan` is enough
    GET  thumbs/ID?from=1&count=20&height=48
    GET  thumbs/REV?...         WebP: so many small images side by side, all of one width: naturalWidth /
                                count. Those behind the last one are empty. count: at most 100, height 16-240
    GET  timeline/ID
    GET  timeline/REV           {images, delays_cs, starts_cs, duration_cs}: how long each image stays, in
                                hundredths of a second (decimals in films)

    REPORT    {format, name, path, steps, size_in, size_out, images, duration_s, bytes_in, bytes_out,
               took_s, warnings, facts, is_part, setting}
              facts: those of `vedit probe --json` of the result, with delays_cs, loop and palettes of a GIF.
              name: what to save it as. path: copy, index, recolour, planes or full.
              is_part: whether it was made of the `first` images alone. setting: what was given up for
              max-size, in words, or null.
    warnings  [{text, stage}]; stage: place in the chain from 0, or null
    ERROR     {text, stage, option, code}: text as the command line says it, with lines; stage: place in the
              chain from 0, or null; option: its name, or null; those of `output` have stage null. code: the
              exit code that the command would have ended with

What to do with them

    POST command {source, chain, output, name?}
                         {chain, output, notes: [TEXT], forms: {FORM: {posix, powershell, file?, text?}}}
                         FORM: "command" (one line), "file" (a file of steps, with its name and text),
                         "preset" (a TOML preset, with its name and text), "folder" (the same for a folder of
                         clips). chain: as `vedit gif chain` takes it. output: the name behind -o.
    POST preset {name, chain, overwrite?}    {name}: saved among the user's presets; 409 where it exists
    POST save {revision, name, overwrite?}   {name, bytes}: written under -O DIR; 409 where it exists
    POST done {revision, overwrite?}         {name, bytes, command}: the file behind -o is written, and the
                                             server ends; 409 while there is no result. Without -o: {} and it
                                             ends
    POST close {}                            {}: the server ends without a result (with -o FILE: exit code 1)

A page that goes away without Done ends a `-o FILE` server some seconds later, unless another one is there.

In a notebook there are no addresses: `session.Session` is the same without a server. `call(kind, args)` takes
the name of a POST or of a GET that answers JSON ("run", "controls", ...) with its object and gives the
answer or raises VeditError; `add_source(name, chunks)` and `add_file(name, chunks)` are the two PUT,
`path_of(ID or REV)` a file, `frame(ID or REV, number)` and `thumbs(ID or REV, begin, count, height)` bytes,
`listen(callback)` the events.

Errors have a status of 400 or above and are {error: ERROR}: 400 not understood, 403, 404, 405, 409 in the
way, 411, 413 too large, 415, 421, 422 the command line would refuse it, 507 no room on the disk.
"""
