/* global module, __dirname */
// CommonJS on purpose, see sql.ts.
module.exports = __dirname;
