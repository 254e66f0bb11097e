import { Controller, Get, Inject, Res, type Type, VERSION_NEUTRAL } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { PrometheusCacheMetrics } from './prometheus-cache-metrics.js';

/** The controller that answers scrapes at a path; a class of its own for each, because the path is part of the class. */
export function metricsController(path: string): Type {
  @Controller({ path, version: VERSION_NEUTRAL })
  class CacheMetricsController {
    constructor(
      @Inject(PrometheusCacheMetrics) private readonly metrics: PrometheusCacheMetrics,
      @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    ) {}

    // The answer is written here, because an interceptor of the application may wrap what handlers return in JSON.
    @Get()
    async scrape(@Res() response: unknown): Promise<void> {
      const { registry } = this.metrics;
      const text = await registry.metrics();
      this.host.httpAdapter.setHeader(response, 'Content-Type', registry.contentType);
      this.host.httpAdapter.reply(response, text, 200);
    }
  }
  return CacheMetricsController;
}
