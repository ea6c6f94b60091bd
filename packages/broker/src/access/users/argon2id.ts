/* Argon2id, loaded when a hash needs it: the library is 280 kB. */
export { argon2id } from "hash-wasm"
