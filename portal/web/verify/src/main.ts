// The verifier as one script. In a page it shows itself; a program that has no
// page finds the functions on globalThis, so that tests run what is shipped.

import { verifyLicense } from "./license";
import { start } from "./page";
import { Refusal } from "./refusal";
import { verifyReply } from "./reply";
import { verifyReport } from "./report";

Object.assign(globalThis, { meterseal: { verifyLicense, verifyReply, verifyReport, Refusal } });

const root = typeof document === "undefined" ? null : document.getElementById("verify");
if (root !== null) start(root);
