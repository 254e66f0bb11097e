import { fork, type ChildProcess } from 'node:child_process';

type Answer<Result> = { result: Result } | { error: string };

/** What one process of a crew does when it is told to. */
export interface Member<Order, Result> {
  carryOut(order: Order): Promise<Result>;
  close(): Promise<void>;
}

/** Processes of their own that run one module, each once it is ready, all at once when they are told to. */
export class Crew<Order, Result> {
  private constructor(private readonly members: readonly Process[]) {}

  /**
   * Start `size` processes that run `module`, which calls {@link joinCrew}.
   * @throws what the member throws while it gets ready.
   */
  static async start<Task, Order, Result>(
    module: URL,
    size: number,
    task: Task,
    nodeOptions: readonly string[] = [],
  ): Promise<Crew<Order, Result>> {
    const members: Process[] = [];
    const ready = async (): Promise<void> => {
      const member = new Process(fork(module, { execArgv: [...process.execArgv, ...nodeOptions] }));
      members.push(member);
      await member.ask(task);
    };
    try {
      // One before all others: not every contender can create its table from several processes at once.
      await ready();
      await Promise.all(Array.from({ length: size - 1 }, ready));
    } catch (error) {
      for (const member of members) member.kill();
      throw error;
    }
    return new Crew(members);
  }

  /** Have the first `size` of them, or all, do it now; each is waiting for this very message. @throws what a member throws. */
  async do(order: Order, size = this.members.length): Promise<Result[]> {
    return Promise.all(this.members.slice(0, size).map((member) => member.ask<Result>(order)));
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.end()));
  }
}

/** To be called by the module of a {@link Crew}: `prepare` is done before anybody is told to do anything. */
export function joinCrew<Task, Order, Result>(prepare: (task: Task) => Promise<Member<Order, Result>>): void {
  let member: Member<Order, Result> | undefined;
  const answer = async (message: Task | Order): Promise<Result | null> => {
    if (member !== undefined) return member.carryOut(message as Order);
    member = await prepare(message as Task);
    return null;
  };
  process.on('message', (message: Task | Order) => {
    void answer(message).then(
      (result) => process.send!({ result }),
      (error: Error) => process.send!({ error: error.stack ?? error.message }),
    );
  });
  process.once('disconnect', () => {
    void Promise.resolve(member?.close()).then(() => process.exit(0));
  });
}

class Process {
  private readonly exited: Promise<void>;

  constructor(private readonly child: ChildProcess) {
    this.exited = new Promise((resolve) => child.once('exit', () => resolve()));
  }

  ask<Result>(message: unknown): Promise<Result> {
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('a process of the crew has ended'));
      this.child.once('exit', gone);
      this.child.once('message', (answer: Answer<Result>) => {
        this.child.off('exit', gone);
        if ('error' in answer) reject(new Error(answer.error));
        else resolve(answer.result);
      });
      this.child.send(message as object);
    });
  }

  async end(): Promise<void> {
    if (this.child.connected) this.child.disconnect();
    await this.exited;
  }

  kill(): void {
    this.child.kill();
  }
}
