import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { errorReference, optionReference } from "@mqtt-trio/common"
import { freePort, readmeSection, RunningProcess, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { ACL_OPTIONS } from "../../src/commands/acl.js"
import { BACKUP_OPTIONS } from "../../src/commands/backup.js"
import { CERT_OPTIONS } from "../../src/commands/cert.js"
import { CHECK_OPTIONS } from "../../src/commands/check.js"
import { COMPACT_OPTIONS } from "../../src/commands/compact.js"
import { QUEUE_OPTIONS } from "../../src/commands/queue.js"
import { REPAIR_OPTIONS } from "../../src/commands/repair.js"
import { START_OPTIONS } from "../../src/commands/start.js"
import { TORTURE_OPTIONS } from "../../src/commands/torture.js"
import { USER_OPTIONS } from "../../src/commands/user.js"
import { BROKER_ERRORS } from "../../src/errors.js"

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url))
const READMES = ["README.md", "packages/pub/README.md", "packages/sub/README.md"].map((path) => readFileSync(join(ROOT, path), "utf8"))

/** Their shell snippets, each as its lines. */
const SNIPPETS = READMES.flatMap((text) => [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, lines = ""]) => lines.trimEnd().split("\n")))
const LINES = SNIPPETS.flat()

/** Where the data is, below the home folder. */
const DATA = new RegExp(`\\| ${process.platform === "darwin" ? "macOS" : "Linux"} .*\`~/([^\`]+)\``).exec(READMES[0] ?? "")?.[1] ?? "?"

function line(beginning: string): string {
  const found = LINES.find((one) => one.startsWith(beginning))
  if (found === undefined) throw new Error(`no README has a snippet with: ${beginning}`)
  return found
}

/** Runs lines of a README in a shell as it says, in a home and on a port of its own. */
class Terminals {
  private constructor(
    private readonly env: Record<string, string>,
    /** where the README says that the data is */
    readonly data: string,
  ) {}

  static async open(): Promise<Terminals> {
    const home = temporaryFolder()
    const port = await freePort()
    const address = { MQTT_BROKER_PORT: String(port), MQTT_URL: `mqtt://127.0.0.1:${port}` }
    return new Terminals({ HOME: home, XDG_DATA_HOME: "", ...address }, join(home, DATA))
  }

  run(command: string): RunningProcess {
    const exec = /[|&;]/.test(command) ? command : `exec ${command}`
    return new RunningProcess("bash", ["--norc", "-c", `${line("export PATH")}\n${exec}`], { env: this.env, cwd: ROOT })
  }
}

test("the path of a terminal gets the three commands and nothing else; what is installed, is installed before the terminals", async () => {
  const folders = new RunningProcess("bash", ["--norc", "-c", `${line("export PATH")}\nprintf %s "\${PATH%%:*}"`], { cwd: ROOT })
  await folders.waitForEnd()
  expect(readdirSync(folders.stdout).toSorted((a, b) => a.localeCompare(b))).toEqual(["mqtt-broker", "mqtt-pub", "mqtt-sub"])
  expect(SNIPPETS.slice(0, 3)).toEqual([["npm ci && npm run demo"], ["npm ci && npm run build"], [line("export PATH")]])
  expect(LINES.filter((one) => one.includes("npm ci"))).toEqual(["npm ci && npm run demo", "npm ci && npm run build", "npm ci && npm test"])
})

test("the three commands in three terminals, and the subscriber that goes and comes back", async () => {
  const terminals = await Terminals.open()
  const broker = terminals.run(line("mqtt-broker start"))
  expect(await broker.waitForLine("mqtt-broker ready")).toContain(`data in file:${terminals.data} `)
  const first = terminals.run(line("mqtt-sub test --client"))
  await first.waitForLine("new session", { stream: "stderr" })
  const publisher = terminals.run(line('mqtt-pub test "Hello mqtt {{n}}"').replace("1000", "20"))
  await first.waitForLine("Hello mqtt 3")
  await first.stop("SIGINT")
  const seen = first.stdout.trimEnd().split("\n").length
  const waiting = async (): Promise<string> => {
    const queue = terminals.run(line("mqtt-broker queue"))
    await queue.waitForEnd()
    return queue.stdout
  }
  await waitFor(async () => (await waiting()).includes(`Hello mqtt ${seen + 2}`), { what: "two messages in the queue" })
  const second = terminals.run(line("mqtt-sub test --client"))
  await second.waitForLine(`Hello mqtt ${seen + 10}`)
  expect(await publisher.stop("SIGINT")).toMatchObject({ code: 0 })
  const all = [first, second].flatMap(({ stdout }) => stdout.trimEnd().split("\n"))
  expect(all.slice(0, seen + 10)).toEqual(Array.from({ length: seen + 10 }, (_, n) => `Hello mqtt ${n + 1}`))
})

test("the snippets of mqtt-pub and mqtt-sub", async () => {
  const terminals = await Terminals.open()
  await terminals.run("mqtt-broker start --store memory:").waitForLine("ready")
  const sub = terminals.run(line("mqtt-sub test -v"))
  await waitFor(
    async () => {
      await terminals.run(line('mqtt-pub test "Hello"')).waitForEnd()
      return !sub.running
    },
    { what: "the subscriber to get two messages" },
  )
  expect(sub.stdout).toBe("test Hello\ntest Hello\n")
  const session = "mqtt-sub test --client numbers --persistent"
  expect(await terminals.run(`${session} -E`).waitForEnd()).toMatchObject({ code: 0 })
  expect(await terminals.run(line("seq 1000")).waitForEnd()).toMatchObject({ code: 0 })
  const numbers = terminals.run(`${session} -C 1000 -W 20`)
  expect(await numbers.waitForEnd()).toMatchObject({ code: 0 })
  expect(numbers.stdout.trimEnd().split("\n").map(Number)).toEqual(Array.from({ length: 1000 }, (_, n) => n + 1))
})

test("the lines for other machines: a user comes in over TLS, nobody else does", async () => {
  const [dir, port] = [temporaryFolder(), await freePort()]
  const run = (command: string): RunningProcess =>
    new RunningProcess("bash", ["--norc", "-c", `${line("export PATH")}; cd ${dir}; ${command}`], {
      env: { HOME: dir, XDG_DATA_HOME: "" },
      cwd: ROOT,
    })
  expect(await run(line("mqtt-broker cert")).waitForEnd()).toMatchObject({ code: 0 })
  expect(await run(`echo secret | ${line("mqtt-broker user add alice")}`).waitForEnd()).toMatchObject({ code: 0 })
  const broker = run(`exec ${line("mqtt-broker start --listen").replace(":8883", `:${port}`)}`)
  await broker.waitForLine(`mqtts://0.0.0.0:${port}`)
  const publish = (more: string): RunningProcess =>
    run(`echo ${more ? "secret" : ""} | mqtt-pub t x -L mqtts://localhost:${port} --cafile certs/ca.crt ${more}`)
  expect(await publish("-u alice --password-file -").waitForEnd()).toMatchObject({ code: 0 })
  expect((await publish("").waitForEnd()).code).not.toBe(0)
  expect(await broker.stop()).toMatchObject({ code: 0 })
})

describe("the tables of mqtt-broker are those of the code (UPDATE_README=1 writes them)", () => {
  const file = "packages/broker/README.md"

  test("options", () => {
    const commands = {
      start: START_OPTIONS,
      "check [options of start]": CHECK_OPTIONS,
      "cert [name...]": CERT_OPTIONS,
      "user <add|passwd|remove|list> [name]": USER_OPTIONS,
      "acl explain <user> read|write <topic>": ACL_OPTIONS,
      "queue <client>": QUEUE_OPTIONS,
      "backup <folder>": BACKUP_OPTIONS,
      repair: REPAIR_OPTIONS,
      compact: COMPACT_OPTIONS,
      torture: TORTURE_OPTIONS,
    }
    const reference = Object.entries(commands).map(([name, table]) => `### mqtt-broker ${name}\n\n${optionReference(table)}`)
    const { actual, expected } = readmeSection(file, "options:mqtt-broker", reference.join("\n\n"))
    expect(actual).toBe(expected)
  })

  test("errors", () => {
    const { actual, expected } = readmeSection(file, "errors:mqtt-broker", errorReference(BROKER_ERRORS))
    expect(actual).toBe(expected)
  })
})
