import { expect, it } from "vitest"
import { runCli } from "@mqtt-trio/testing"

/** Arguments, the phrase that stderr must have; the exit code is always 2, and nothing is connected to (port 1 would be exit 3). */
const rows: readonly (readonly [args: readonly string[], phrase: string])[] = [
  [[], "no topic filter given"],
  [[""], "it is empty"],
  [["a/#/b"], "# must be the whole last level"],
  [["a+"], "+ must be a whole level"],
  [["$share/g"], "$share/GROUP/FILTER"],
  [["$share/+/a"], "the group of a shared subscription"],
  [["-t", "a#"], "--topic: topic filter"],
  [["a", "a"], "is given twice"],
  [["-T", "a+", "a"], "--filter-out: topic filter"],
  [["-0"], "unknown option '-0'"],
  [["t", "--host", ""], "--host: the value is empty"],
  [["t", ""], 'topic filter ""'],
  [["t", "-F", ""], "--format: the value is empty"],
  [["-U", "a+"], "--unsubscribe: topic filter"],
  [["a", "-q", "7"], 'QoS "7" is not 0, 1 or 2'],
  [["a", "b", "c", "-q", "1", "-q", "0"], "3 topic filters but 2 times --qos"],
  [["a", "-C", "0"], "number of messages"],
  [["a", "-C", "x"], "number of messages"],
  [["a", "-W", "soon"], "timeout"],
  [["a", "-E", "-C", "1"], "does not wait for messages"],
  [["a", "-E", "-W", "1"], "does not wait for messages"],
  [["a", "-R", "--retained-only"], "--skip-retained does not go with"],
  [["a", "-W", "0"], '--timeout: timeout "0" is too short'],
  [["a", "--timeout=0s"], 'timeout "0s" is too short'],
  [["a", "--connect-timeout", "0"], 'connect timeout "0" is too short'],
  [["a", "-R", "--remove-retained"], "--skip-retained does not go with"],
  [["a", "--retain-handling", "often"], "retain handling"],
  [["a", "--retain-handling", "new", "-V", "3.1.1"], "--retain-handling needs MQTT 5"],
  [["a", "--no-local", "-V", "3.1.1"], "--no-local needs MQTT 5"],
  [["$share/g/a", "--no-local"], "--no-local does not go with a shared subscription"],
  [["a", "--retain-as-published", "-V", "31"], "--retain-as-published needs MQTT 5"],
  [["a", "--subscription-id", "0"], "subscription identifier"],
  [["a", "--random-filter", "101"], "percentage"],
  [["a", "--random-filter", "0"], "percentage"],
  [["a", "-v", "--json"], "both set the format"],
  [["a", "-v", "-F", "%p"], "both set the format"],
  [["a", "--hex", "--base64"], "both set the format of payloads"],
  [["a", "-F", "%p", "--hex"], "write %x in the format"],
  [["a", "--pretty"], "--pretty is about JSON"],
  [["a", "-F", "%y"], "is not a parameter"],
  [["a", "-F", "%"], "in the middle of a sequence"],
  [["a", "-F", "x%-05"], "is not a parameter"],
  [["a", "-F", "@"], "in the middle of a sequence"],
  [["a", "-F", "\\x"], "is not an escape"],
  [["a", "-F", "\\"], "in the middle of a sequence"],
  [["a", "-c"], "--persistent needs --client"],
  [["a", "-x", "1", "-V", "3.1.1"], "--session-expiry needs MQTT 5"],
  [["a", "--verbos"], "Did you mean --verbose?"],
  [["a", "-o", "x"], "unknown option '-o'"],
  [["a", "-L", "mqtt://h", "-h", "x"], "--url and --host both say where"],
  [["a", "-p", "-1"], "port"],
  [["a", "-k", "x"], "keep alive"],
  [["a", "--connect-timeout", "25d"], 'connect timeout "25d" is too long'],
  [["a", "--reconnect-period", "25d"], 'reconnect period "25d" is too long'],
  [["a", "-k", "25d"], "keep alive"],
  [["a", "--will-topic", "w", "--will-delay", "50000d"], "will delay"],
  [["a", "-c", "-i", "x", "-x", "50000d"], "session expiry"],
  [["a", "--will-delay", "1"], "--will-delay needs --will-topic"],
  [["a", "-D", "subscribe", "content-type", "x"], "content-type does not belong to subscribe"],
]

it.each(rows)("%j: %s", async (args, phrase) => {
  const { code, stdout, stderr } = await runCli("mqtt-sub", args, { env: args.includes("-L") ? {} : { MQTT_PORT: "1" } })
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
  expect(stderr).toContain("error: ")
  expect(stderr).toContain(phrase)
  expect(stderr).not.toMatch(/^ {4}at /m)
})
