#!/usr/bin/env node
// occ as a program of its own: the same as `npm run occ -- …`.
process.argv.splice(2, 0, "occ");
await import("../local/bootstrap.mjs");
