// Keeps Azurite from sweeping, loaded before it: node --require.
//
// Every ten minutes it looks for data that no blob needs and removes it, one search through all of it for each
// piece, and answers nobody meanwhile: after ten minutes of tests that write small blocks, for a minute and more.
// It has no option for that. What it holds ends with the process.

"use strict";

const path = require("node:path");

const file = path.join(path.dirname(process.argv[1]), "utils", "constants.js");
const constants = require(file);
if (typeof constants.DEFAULT_GC_INTERVAL_MS !== "number") {
  throw new Error(`${file} no longer says how often Azurite sweeps; see how this version does it`);
}
constants.DEFAULT_GC_INTERVAL_MS = 2 ** 31 - 1; // the longest that a timer takes: 24 days
