import { describe, expect, it } from "vitest"
import {
  connectionOptions,
  createProgram,
  flag,
  integer,
  list,
  normalizeArguments,
  optional,
  resolveOptions,
  runProgram,
  value,
  type OptionValues,
  type ResolvedOptions,
} from "@mqtt-trio/common"

const table = {
  port: value({
    flags: "-p, --port <n>",
    parse: integer("port", 1),
    help: "port",
    group: "A",
    env: "T_PORT",
    aliases: ["--listen"],
    fallback: 5112,
  }),
  host: optional({ flags: "-h, --host [host]", parse: (text: string) => text, help: "host", group: "A" }),
  loud: flag({ flags: "-d, --loud", help: "loud", group: "A", env: "T_LOUD" }),
  noStore: flag({ flags: "--no-store", help: "no store", group: "A" }),
  topic: list({ flags: "-t, --topic <t>", parse: (text: string) => text, help: "topics", group: "A" }),
  name: value({ flags: "--name <n>", parse: (text: string) => text, help: "name", group: "A" }),
} as const

async function parse(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<ResolvedOptions<typeof table>> {
  const help = { name: "t", summary: "", usage: "", examples: [] }
  const program = createProgram(help, table, "1.0.0").argument("[rest...]")
  program.action(() => undefined)
  await runProgram(program, normalizeArguments(args, table))
  return resolveOptions(program, table, env)
}

async function values(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<OptionValues<typeof table>> {
  return (await parse(args, env)).values
}

describe("options", () => {
  it("an absent option is its fallback, and says so", async () => {
    const resolved = await parse([])
    expect(resolved.values).toEqual({ port: 5112, host: undefined, loud: false, noStore: false, topic: [], name: undefined })
    expect(resolved.given("port")).toBe(false)
  })

  it("a flag beats the environment, the environment beats the fallback", async () => {
    expect((await values(["-p", "1"], { T_PORT: "2" })).port).toBe(1)
    const fromEnv = await parse([], { T_PORT: "2" })
    expect([fromEnv.values.port, fromEnv.source("port")]).toEqual([2, "env"])
    expect((await values([], { T_PORT: "" })).port).toBe(5112)
  })

  it("a flag in the environment is parsed, not just present", async () => {
    expect((await values([], { T_LOUD: "false" })).loud).toBe(false)
    expect((await values([], { T_LOUD: "1" })).loud).toBe(true)
    await expect(values([], { T_LOUD: "perhaps" })).rejects.toThrow(/T_LOUD.*neither true nor false/)
  })

  it("accepts values next to the flag, after it, clustered, and starting with a dash", async () => {
    expect((await values(["-p7"])).port).toBe(7)
    expect((await values(["--port=7"])).port).toBe(7)
    expect(await values(["-dp", "7"])).toMatchObject({ loud: true, port: 7 })
    expect((await values(["--name", "-p"])).name).toBe("-p")
    expect((await values(["--name", "--listen"])).name).toBe("--listen")
  })

  it("an optional value may be missing", async () => {
    expect((await values(["-h"])).host).toBe(true)
    expect((await values(["-h", "broker"])).host).toBe("broker")
    expect(await values(["-h", "-d"])).toMatchObject({ host: true, loud: true })
  })

  it("lists add up in order, hidden aliases included; the last single value wins", async () => {
    expect((await values(["-t", "a", "--topic", "b", "-t", "c"])).topic).toEqual(["a", "b", "c"])
    expect((await values(["--listen", "3", "-p", "4"])).port).toBe(4)
    expect((await values(["-p", "4", "--listen=3"])).port).toBe(3)
  })

  it("a negative flag is a flag like any other", async () => {
    expect((await values(["--no-store"])).noStore).toBe(true)
  })

  it("errors name the flag and help with typing errors", async () => {
    await expect(values(["--port", "x"])).rejects.toMatchObject({
      code: "usage",
      exitCode: 2,
      message: '--port: port "x" is not a whole number from 1 to 9007199254740991',
    })
    await expect(values(["--prot", "1"])).rejects.toMatchObject({ message: "unknown option '--prot'", hint: "Did you mean --port?" })
    await expect(values(["--port"])).rejects.toMatchObject({ code: "usage" })
  })

  it("everything after -- is left alone", () => {
    expect(normalizeArguments(["--", "--listen", "1"], table)).toEqual(["--", "--listen", "1"])
  })

  it("-D takes three arguments, and four for a user property", () => {
    const args = ["-D", "publish", "content-type", "x", "-D", "connect", "user-property", "k", "v", "-t", "-D"]
    const joined = ['--property=["publish","content-type","x"]', '--property=["connect","user-property","k","v"]']
    expect(normalizeArguments(args.slice(0, 9), connectionOptions)).toEqual(joined)
    expect(normalizeArguments(["-u", "-D", "x"], connectionOptions)).toEqual(["-u", "-D", "x"])
    expect(() => normalizeArguments(["-D", "publish"], connectionOptions)).toThrow("-D needs 3 values")
  })
})
