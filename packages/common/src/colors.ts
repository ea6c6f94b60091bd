import { Chalk, type ChalkInstance } from "chalk"

/** What decides about colour: the stream's nature and the environment. */
export interface ColorTarget {
  readonly isTTY?: boolean | undefined
}

/**
 * Colours for one stream: none when it is no terminal, NO_COLOR is set and not empty, TERM is "dumb", or `--no-color` was given.
 * chalk itself knows nothing of NO_COLOR, so its level is set here.
 */
export function colorsFor(stream: ColorTarget, env: NodeJS.ProcessEnv = process.env, wanted = true): ChalkInstance {
  const plain = !wanted || stream.isTTY !== true || (env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb"
  return new Chalk({ level: plain ? 0 : 1 })
}
