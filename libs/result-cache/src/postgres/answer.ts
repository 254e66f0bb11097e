/** The answer to a question that is asked once: a promise for those who come before it is there, the value for all others. */
export class Answer<T> {
  private found: T | undefined;

  constructor(readonly promise: Promise<T>) {
    promise.then(
      (value) => (this.found = value),
      () => undefined,
    );
  }

  /** `undefined` while it is not there, or where it never came. */
  get value(): T | undefined {
    return this.found;
  }
}
