import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import {
  cliPath,
  randomId,
  runCli,
  runProcess,
  startBroker,
  startRecordingProxy,
  temporaryFolder,
  type RunResult,
  type TestBroker,
} from "@mqtt-trio/testing"

let broker: TestBroker
beforeAll(async () => {
  broker = await startBroker()
})

/** Runs a command line in bash, where $'\xe9' is a byte; `$PUB` and `$SUB` are the commands. */
function bash(line: string, port = broker.port): Promise<RunResult> {
  const env = {
    PUB: `${process.execPath} ${cliPath("mqtt-pub")}`,
    SUB: `${process.execPath} ${cliPath("mqtt-sub")}`,
    MQTT_PORT: String(port),
  }
  return runProcess("bash", ["--norc", "-c", line], { env })
}

describe("a payload is sent exactly as it is given", () => {
  it.each([
    ["an argument", String.raw`$PUB -r T $'caf\xe9'`, "636166e9"],
    ["after --", String.raw`$PUB -r -- T $'\xff\xfe'`, "fffe"],
    ["-m", String.raw`$PUB -r T -m $'\xc3'`, "c3"],
    ["-m with its text in one word", String.raw`$PUB -r T -m$'\xed\xa0\x80'`, "eda080"],
    ["--message=", String.raw`$PUB -r T --message=$'a\x80b'`, "618062"],
    ["a node with options of its own", String.raw`${process.execPath} --no-warnings ${cliPath("mqtt-pub")} -r T $'\xe9\xc3\xa4'`, "e9c3a4"],
    ["U+FFFD that was meant", String.raw`$PUB -r T $'\xef\xbf\xbd'`, "efbfbd"],
    ["a template", String.raw`$PUB -r T $'\xe9{{n}}' --template`, "e931"],
    ["{{env}}", String.raw`X=$'\xe9' $PUB -r T '{{env X}}' --template`, "e9"],
    ["{{line}}", String.raw`printf 'a\xe9\n' | $PUB -r T '{{line}}' --template -l`, "61e9"],
  ])("%s", async (_name, line, hex) => {
    const topic = randomId("topic")
    const published = await bash(line.replace(" T ", ` ${topic} `))
    expect(published).toMatchObject({ code: 0, stdout: "", stderr: "" })
    expect((await bash(`$SUB ${topic} -C 1 -F %x`)).stdout).toBe(`${hex}\n`)
  })

  it("correlation data, and what mqtt-sub prints around a payload", async () => {
    const topic = randomId("topic")
    for (const option of [String.raw`--correlation-data $'\xe9\x01'`, String.raw`-D publish correlation-data $'\xe9\x01'`]) {
      expect(await bash(`$PUB ${topic} x -r ${option}`)).toMatchObject({ code: 0, stderr: "" })
      expect((await bash(String.raw`$SUB ${topic} -C 1 -F $'\xfe%D'`)).stdoutBytes).toEqual(Buffer.from([0xfe, 0xe9, 1, 0x0a]))
    }
  })

  it("the payload of a Will, and passwords from arguments, a URL, a file and the environment", async () => {
    const file = join(temporaryFolder(), "password")
    writeFileSync(file, Buffer.from([0xe9, 0xff, 0x0d, 0x0a, 0x78]))
    const password = Buffer.from([0, 2, 0xe9, 0xff])
    for (const [line, wanted] of [
      [String.raw`$PUB t x --will-topic w --will-payload $'\xe9\xff'`, password],
      [String.raw`$PUB t x -u u -P $'\xe9\xff'`, password],
      [String.raw`MQTT_PASSWORD=$'\xe9\xff' $PUB t x -u u`, password],
      [`$PUB t x -u u --password-file ${file}`, password],
      ["$PUB t x -L mqtt://u:%E9%ff@127.0.0.1:$MQTT_PORT", password],
      [String.raw`$PUB t x -L $'mqtt://u:\xe9\xff@127.0.0.1:'$MQTT_PORT`, password],
    ] as const) {
      const proxy = await startRecordingProxy(broker.port)
      expect(await bash(line, proxy.port)).toMatchObject({ code: 0 })
      expect(proxy.sent.includes(wanted), line).toBe(true)
    }
  })

  it("a file whose name is not UTF-8", async () => {
    const dir = temporaryFolder()
    const topic = randomId("topic")
    const published = await bash(String.raw`cd ${dir}; printf inside > $'f\xe9'; $PUB ${topic} -r -f $'f\xe9'`)
    expect(published).toMatchObject({ code: 0, stderr: "" })
    expect((await bash(`$SUB ${topic} -C 1`)).stdout).toBe("inside\n")
  })
})

describe("text that is not UTF-8 is a usage error, whatever it is for", () => {
  it.each([
    String.raw`$PUB $'caf\xe9' x`,
    String.raw`$PUB -t $'\xe9' -m x`,
    String.raw`$PUB -L $'mqtt://127.0.0.1/\xe9' -m x`,
    String.raw`$PUB t x --client $'\xe9'`,
    String.raw`MQTT_CLIENT_ID=$'\xe9' $PUB t x`,
    String.raw`$PUB t x -I $'\xe9'`,
    String.raw`$PUB t x -u $'\xe9'`,
    "$PUB t x -L mqtt://u%E9@127.0.0.1",
    String.raw`$PUB t x -h $'\xe9'`,
    String.raw`$PUB t x --content-type $'\xe9'`,
    String.raw`$PUB t x --response-topic $'\xe9'`,
    String.raw`$PUB t x --user-property $'a=\xe9'`,
    String.raw`$PUB t x --user-property $'\xe9=a'`,
    String.raw`$PUB t x -D publish user-property a $'\xe9'`,
    String.raw`$PUB t x -D connect authentication-method $'\xe9'`,
    String.raw`$PUB t x --will-topic $'\xe9'`,
    String.raw`$PUB t x --ws --path $'/\xe9'`,
    String.raw`X=$'\xe9' $PUB '{{env X}}' y --template`,
    String.raw`printf 'a\xe9\n' | $PUB '{{line}}' y --template -l`,
    String.raw`$SUB $'\xe9'`,
    String.raw`$SUB t -T $'\xe9'`,
    String.raw`$SUB t -U $'\xe9'`,
    String.raw`$SUB t --user-property $'a=\xe9'`,
  ])("%s", async (line) => {
    expect(await bash(line)).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(/\\xe9.*it is not UTF-8 text|%E9.*it is not UTF-8 text/),
    })
  })

  it("NUL, which arguments cannot have but URLs and JSON can", async () => {
    for (const args of [
      ["-L", "mqtt://127.0.0.1/a%00", "-m", "x"],
      ["t", "x", "-L", "mqtt://u%00@127.0.0.1"],
      ["t", "x", '--property=["publish","user-property","a","\\u0000"]'],
    ]) {
      expect(await runCli("mqtt-pub", args)).toMatchObject({ code: 2, stderr: expect.stringContaining("NUL") })
    }
  })

  it("and fields that are longer than MQTT allows", async () => {
    const long = "x".repeat(65_536)
    for (const option of ["--client", "--username", "--content-type", "--correlation-data", "--will-payload", "--password"]) {
      const result = await runCli("mqtt-pub", ["t", "x", "--will-topic", "w", option, long])
      expect(result, option).toMatchObject({ code: 2, stderr: expect.stringMatching(/longer than 65535 bytes|65536 bytes are too many/) })
    }
  })
})

it("where the system does not show the bytes, arguments that may have lost some are refused", async () => {
  // A process that gave itself a title has overwritten its arguments.
  const result = await bash(String.raw`${process.execPath} --title=other ${cliPath("mqtt-pub")} t $'caf\xe9'`)
  expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining("give a payload with -s or -f") })
})
