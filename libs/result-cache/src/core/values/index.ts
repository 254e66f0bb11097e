/**
 * The value codec: what a cached method returned comes back as what it was.
 *
 * A value is stored as two texts. `json` is plain readable JSON, so that SQL can query it; `types` says which places
 * in it are more than JSON (a `Date`, a `User`), and is null when nothing is.
 *
 * Not kept, on purpose: symbol keys, the identity of an object referenced twice (it comes back as two equal ones),
 * holes in arrays (they become `undefined`), accessors (their value is kept), frozen and sealed states,
 * `RegExp.lastIndex`, and the stack of an error.
 */
export { ClassRegistry, type Class } from './class-registry.js';
export { copyAgain, copyValue } from './copy.js';
export { decodeValue } from './decode.js';
export { encodeValue, type EncodedValue, type EncodeOptions } from './encode.js';
