import { describe, expect, it } from "vitest"
import {
  connectionOptions,
  createProgram,
  flag,
  integer,
  keyOf,
  list,
  messageOf,
  normalizeArguments,
  optional,
  resolveOptions,
  runProgram,
  suggestOption,
  value,
  type OptionFile,
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
  host: optional({ flags: "-h, --host [host]", parse: (text: string) => text, help: "host", group: "A", env: "T_HOST" }),
  loud: flag({ flags: "-d, --loud", help: "loud", group: "A", env: "T_LOUD" }),
  noStore: flag({ flags: "--no-store", help: "no store", group: "A" }),
  topic: list({ flags: "-t, --topic <t>", parse: (text: string) => text, help: "topics", group: "A", env: "T_TOPIC" }),
  name: value({ flags: "--name <n>", parse: (text: string) => text, help: "name", group: "A", env: "T_NAME" }),
} as const

async function parse(args: readonly string[], env: NodeJS.ProcessEnv = {}, file?: OptionFile): Promise<ResolvedOptions<typeof table>> {
  const help = { name: "t", summary: "", usage: "", examples: [] }
  const program = createProgram(help, table, "1.0.0").argument("[rest...]")
  program.action(() => undefined)
  await runProgram(program, normalizeArguments(args, table))
  return resolveOptions(program, table, { env, file })
}

async function values(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<OptionValues<typeof table>> {
  return (await parse(args, env)).values
}

/** What is said when `stored` stands in a file. */
function refused(key: string, stored: unknown): Promise<string> {
  return parse([], {}, { name: "f", values: new Map([[key, stored]]) }).then(String, messageOf)
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

  it.each([
    { kind: "value", key: "port" as const, flags: ["--port", "1"], variable: "2", stored: 3n, values: [1, 2, 3, 5112] },
    {
      kind: "value that is a text",
      key: "name" as const,
      flags: ["--name", "a"],
      variable: "b",
      stored: "c",
      values: ["a", "b", "c", undefined],
    },
    { kind: "optional", key: "host" as const, flags: ["--host", "a"], variable: "b", stored: "c", values: ["a", "b", "c", undefined] },
    { kind: "flag", key: "loud" as const, flags: ["--loud"], variable: "false", stored: true, values: [true, false, true, false] },
    {
      kind: "list",
      key: "topic" as const,
      flags: ["-t", "a", "-t", "b"],
      variable: "c",
      stored: ["d", 5],
      values: [["a", "b"], ["c"], ["d", "5"], []],
    },
  ])("$kind: flag, then environment, then file, then default", async ({ key, flags, variable, stored, values }) => {
    const name = keyOf(table[key])
    const file = { name: "f", values: new Map([[name, stored]]) }
    const env = { [`T_${name.toUpperCase()}`]: variable }
    const sources = [await parse(flags, env, file), await parse([], env, file), await parse([], {}, file), await parse([])]
    expect(sources.map((resolved) => resolved.values[key])).toEqual(values)
    expect(sources.map((resolved) => resolved.source(key))).toEqual(["flag", "env", "file", "default"])
  })

  it("what stands in a file is parsed as on the command line, and refused with the file's name", async () => {
    expect(await refused("port", 0)).toBe('port in "f": port "0" is not a whole number from 1 to 9007199254740991')
    expect(await refused("port", true)).toBe('port in "f": the value is "true", not a number or a text')
    expect(await refused("name", "")).toBe('name in "f": the value is empty')
    expect(await refused("name", ["a"])).toBe('name in "f": the value is an array, not one number or text')
    expect(await refused("name", new Date())).toBe('name in "f": the value is a table or a date, not a number or a text')
    expect(await refused("topic", "a")).toBe('topic in "f": the value is no array')
    expect(await refused("topic", [["a"]])).toBe('topic in "f": the value is an array, not one number or text')
    expect(await refused("loud", 5)).toBe('loud in "f": "5" is neither true nor false')
  })

  it("suggests an option for a mistyped name, and nothing for what is like none", () => {
    expect(suggestOption("--nmae", table)).toBe("Did you mean --name?")
    expect([suggestOption("--zzzzzz", table), suggestOption("--help", table), suggestOption("--name", table)]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
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
