/** What OpenSSL says, as Node.js hands it on: `…:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:FILE:…` */
const OPENSSL = /(?:^|[\s:])error:[0-9A-F]{8}:[^:]*:[^:]*:([^:]+)/i
const ALERT = /^\S+ alert (.+)$/
const CERTIFICATE_ALERTS = /certificate|unknown ca/

/** The text of an error; where it is OpenSSL's, its reason alone. */
export function withoutOpenSsl(text: string): string {
  return OPENSSL.exec(text)?.[1]?.trim() ?? text
}

/** What to say when the other side gave up the TLS handshake with an alert; undefined: it did not. */
export function alertReason(text: string): [why: string, hint: string] | undefined {
  const alert = ALERT.exec(withoutOpenSsl(text))?.[1]
  if (alert === undefined) return undefined
  if (alert === "certificate required") return ["the broker asks for a certificate", "show one with --cert FILE and --key FILE"]
  if (CERTIFICATE_ALERTS.test(alert))
    return [
      `the broker does not accept the certificate of this client (${alert})`,
      "check --cert and --key, and which authorities it trusts",
    ]
  const hint = "does it want a client certificate (--cert, --key), or another --tls-version or --ciphers?"
  return [`the broker gave up the TLS handshake (${alert})`, hint]
}
