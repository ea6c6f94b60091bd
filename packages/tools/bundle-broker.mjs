// Bundles the broker into few files, which start in half the time: for the archive, and for tests, which start it hundreds of
// times. LMDB is not in them: Node.js looks for it in the folders above.
import { join, resolve } from "node:path"
import { build } from "esbuild"

const BROKER = resolve(import.meta.dirname, "../broker")

/** what MongoDB's driver can do with packages that few have; who needs one installs it beside */
const OPTIONAL = ["kerberos", "@mongodb-js/zstd", "@aws-sdk/credential-providers", "gcp-metadata", "snappy", "mongodb-client-encryption"]

/** has native code: it is not bundled, and travels with what it needs */
export const NATIVE = "lmdb"

/** Makes the folder `to` of what is in `src`, or of what is compiled in `dist`; returns the paths of the files that are in it. */
export async function bundleBroker(to, from) {
  const program = (path) => join(BROKER, from, `${path}.${from === "src" ? "ts" : "js"}`)
  const { metafile } = await build({
    // programs of threads: their files are looked for beside the one that starts them
    entryPoints: { cli: program("cli"), "hash-worker": program("access/users/hash-worker"), "read-worker": program("stores/read-worker") },
    outdir: to,
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: [NATIVE, ...OPTIONAL],
    metafile: true,
    // libraries that are CommonJS modules load those of Node.js by require()
    banner: { js: 'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);' },
    logLevel: "warning",
  })
  return Object.keys(metafile.inputs)
}
