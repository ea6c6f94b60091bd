type CleanUp = () => void | Promise<void>

const forTest: CleanUp[] = []
const forFile: CleanUp[] = []
let insideTest = false

/** Runs `task` when the current test (or, outside of tests, the test file or the process) ends; the newest first. */
export function onCleanUp(task: CleanUp): void {
  ;(insideTest ? forTest : forFile).push(task)
}

/** Ends everything that the helpers started. Within vitest this happens by itself. */
export async function cleanUp(): Promise<void> {
  await drain(forTest)
  await drain(forFile)
}

async function drain(tasks: CleanUp[]): Promise<void> {
  for (let task = tasks.pop(); task !== undefined; task = tasks.pop()) await task()
}

if (process.env["VITEST"] !== undefined) {
  const { afterAll, afterEach, beforeEach } = await import("vitest")
  beforeEach(() => {
    insideTest = true
  })
  afterEach(async () => {
    insideTest = false
    await drain(forTest)
  })
  afterAll(cleanUp)
}
