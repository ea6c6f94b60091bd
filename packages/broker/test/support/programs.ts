import { join } from "node:path"

/** The path of a program for a process of its own, which was made of the file of that name: see packages/tools/test-programs.mjs. */
export function programPath(name: string): string {
  const folder = process.env["MQTT_TEST_PROGRAMS"]
  if (folder === undefined) throw new Error("the programs of the tests were not made: run them by vitest")
  return join(folder, `${name}.js`)
}
