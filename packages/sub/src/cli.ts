import {
  createDiagnostics,
  createProgram,
  exactArguments,
  exactEnvironment,
  helpText,
  listenForStop,
  normalizeArguments,
  resolveOptions,
  runMain,
  runProgram,
} from "@mqtt-trio/common"
import { subHelp, subOptions } from "./options.js"
import { planSub } from "./rules.js"
import { runSub } from "./run-sub.js"
import { VERSION } from "./version.js"

void runMain(async () => {
  const args = normalizeArguments(exactArguments(), subOptions)
  const program = createProgram(subHelp, subOptions, VERSION).argument("[filters...]")
  let exitCode = 0
  program.action(async () => {
    const resolved = resolveOptions(program, subOptions, exactEnvironment())
    const { host, quiet, debug, noColor } = resolved.values
    if (host === true) {
      process.stdout.write(helpText(subHelp, subOptions))
      return
    }
    const plan = planSub(resolved, program.args, args)
    const stop = listenForStop()
    try {
      exitCode = await runSub(plan, { diagnostics: createDiagnostics({ quiet, debug, color: !noColor }), stop })
    } finally {
      stop.dispose()
    }
  })
  await runProgram(program, args)
  return exitCode
})
