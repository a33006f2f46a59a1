import { createEditor } from "./page.js";
import { overHttp } from "./transport.js";

createEditor({ root: document.body, transport: overHttp(), store: window.sessionStorage });
