interface Queued<Q, A> {
  question: Q;
  resolve(answer: A): void;
  reject(error: unknown): void;
}

/** Joins the questions of one event-loop turn into one call. */
export class TurnBatch<Q, A> {
  private queued: Queued<Q, A>[] = [];

  /** @param answerAll Answers all questions, in their order; where it rejects, each of them is rejected. */
  constructor(private readonly answerAll: (questions: readonly Q[]) => Promise<readonly A[]>) {}

  add(question: Q): Promise<A> {
    return new Promise((resolve, reject) => {
      if (this.queued.length === 0) setImmediate(() => void this.send());
      this.queued.push({ question, resolve, reject });
    });
  }

  private async send(): Promise<void> {
    const batch = this.queued;
    this.queued = [];
    try {
      const answers = await this.answerAll(batch.map(({ question }) => question));
      batch.forEach(({ resolve }, index) => resolve(answers[index]!));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
