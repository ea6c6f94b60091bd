/** Answers that are remembered: of one client, of all, and for topics of what length. */
const ANSWERS_OF_ONE = 1000
const ANSWERS_OF_ALL = 200_000
const LONGEST_TOPIC = 256

/** Keeps the answers of all clients together within bounds: all are forgotten when there are too many. */
export class AnswerBudget {
  private readonly held = new Set<Map<string, boolean>>()
  private count = 0

  /** Puts an answer into a client's map, unless the topic is long. */
  remember(answers: Map<string, boolean>, topic: string, answer: boolean): void {
    if (topic.length > LONGEST_TOPIC) return
    if (this.count >= ANSWERS_OF_ALL) this.forgetAll()
    if (answers.size >= ANSWERS_OF_ONE) {
      this.count -= answers.size
      answers.clear()
    }
    answers.set(topic, answer)
    this.held.add(answers)
    this.count++
  }

  private forgetAll(): void {
    for (const answers of this.held) answers.clear()
    this.held.clear()
    this.count = 0
  }
}
