import { Inject, Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type CacheEvent, EVENT_CHANNEL, STORE_EVENTS } from '../core/events.js';
import { StoreUnavailableError } from '../postgres/readiness.js';
import { CacheRegistry } from './cache-registry.js';

const REPEAT_MS = 10_000;

/** Tells what an operator should know, in the application's log: what cannot be cached and why, and trouble with the database. */
@Injectable()
export class EventLogger implements OnModuleInit, OnApplicationShutdown {
  private readonly logger = new Logger('ResultCache');
  private quietUntil = 0;
  private inTrouble = false;

  constructor(@Inject(CacheRegistry) private readonly registry: CacheRegistry) {}

  onModuleInit(): void {
    subscribe(EVENT_CHANNEL, this.onEvent);
  }

  onApplicationShutdown(): void {
    unsubscribe(EVENT_CHANNEL, this.onEvent);
  }

  private readonly onEvent = (message: unknown): void => {
    const event = message as CacheEvent;
    if (event.cache !== STORE_EVENTS && !this.registry.services.some(({ name }) => name === event.cache)) return;
    if (event.type === 'unstorable')
      this.logger.warn(`${event.view} returns a value that cannot be cached: ${event.message}`);
    else if (event.type === 'untracked') this.logger.warn(`${event.view} is not cached: ${event.message}`);
    else if (event.type === 'failed') this.failed(event.view, event.error);
    else if (event.type === 'availability') this.availability(event.state, event.message);
    // That the store cannot be asked was told when it began; every use until then fails in consequence.
    else if (event.type === 'error' && !(event.error instanceof StoreUnavailableError))
      this.error(event.operation, event.error);
  };

  private availability(state: string, message: string): void {
    if (state === 'off') this.logger.warn(`The cache is off, methods compute. ${message}`);
    else if (state === 'unreachable')
      this.logger.warn(`The cache's database cannot be used (${message}); methods compute until it can`);
    else if (this.inTrouble) this.logger.log('The cache is in use again');
    this.inTrouble = state !== 'ready';
  }

  private failed(view: string, error: Error): void {
    this.warnAtTimes(`${view} could not be computed anew, and an older value is served: ${error.message}`);
  }

  /** A database that is down fails with every request; one line in ten seconds tells as much. */
  private error(operation: string, error: Error): void {
    this.warnAtTimes(`Cache ${operation} failed, methods compute: ${error.message}`);
  }

  private warnAtTimes(message: string): void {
    const now = Date.now();
    if (now < this.quietUntil) return;
    this.quietUntil = now + REPEAT_MS;
    this.logger.warn(message);
  }
}
