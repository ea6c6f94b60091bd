import {
  createDiagnostics,
  createProgram,
  helpText,
  listenForStop,
  normalizeArguments,
  resolveOptions,
  runMain,
  runProgram,
  writeOut,
} from "@mqtt-trio/common"
import { subHelp, subOptions } from "./options.js"
import { planSub } from "./rules.js"
import { runSub } from "./run-sub.js"
import { VERSION } from "./version.js"

void runMain(async () => {
  const program = createProgram(subHelp, subOptions, VERSION).argument("[filters...]")
  let exitCode = 0
  program.action(async () => {
    const resolved = resolveOptions(program, subOptions)
    const { host, quiet, debug, noColor } = resolved.values
    if (host === true) {
      await writeOut(helpText(subHelp, subOptions))
      return
    }
    const plan = planSub(resolved, program.args)
    const stop = listenForStop()
    try {
      exitCode = await runSub(plan, { diagnostics: createDiagnostics({ quiet, debug, color: !noColor }), stop })
    } finally {
      stop.dispose()
    }
  })
  await runProgram(program, normalizeArguments(process.argv.slice(2), subOptions))
  return exitCode
})
