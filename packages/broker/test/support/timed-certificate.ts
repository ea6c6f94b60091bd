import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { temporaryFolder } from "@mqtt-trio/testing"

const DAY_MS = 86_400_000
const CONFIG = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\npolicy=p\ndefault_md=sha256\n[p]\ncommonName=supplied\n"

/** Files of a certificate of its own key that is valid from a day until another, counted from now. */
export function timedCertificate(from: number, to: number): { readonly cert: string; readonly key: string } {
  const cwd = temporaryFolder()
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { cwd, stdio: "pipe" })
  for (const [name, content] of Object.entries({ config: CONFIG, index: "", serial: "01" })) writeFileSync(join(cwd, name), content)
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key"]
  openssl("req", ...key, "-subj", "/CN=localhost", "-out", "request")
  const times = ["-startdate", dateIn(from), "-enddate", dateIn(to)]
  openssl("ca", "-batch", "-config", "config", "-selfsign", "-keyfile", "key", "-in", "request", "-out", "cert", "-outdir", ".", ...times)
  return { cert: join(cwd, "cert"), key: join(cwd, "key") }
}

function dateIn(days: number): string {
  return new Date(Date.now() + days * DAY_MS).toISOString().replaceAll(/[-:T]|\.\d+/g, "")
}
