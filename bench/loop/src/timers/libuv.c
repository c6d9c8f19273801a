/* A million timers on libuv: prints nanoseconds of processor time a timer to set, fire, cancel. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

enum { COUNT = 1000000, SHORTEST = 500, LONGEST = 1200, FAR = 60000 };

static uint64_t cpu_nanos(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void fired(uv_timer_t *timer) { (void)timer; }

/* libuv counts whole milliseconds. */
static double set_all(uv_loop_t *loop, uv_timer_t *timers, uint64_t more) {
    uint64_t state = 0x9E3779B97F4A7C15ull, width = (LONGEST - SHORTEST) * 1000000ull;
    uint64_t start = cpu_nanos();
    for (int n = 0; n < COUNT; n++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        uv_timer_init(loop, &timers[n]);
        uv_timer_start(&timers[n], fired, SHORTEST + (state >> 11) % width / 1000000 + more, 0);
    }
    return (double)(cpu_nanos() - start) / COUNT;
}

int main(void) {
    uv_loop_t *loop = uv_default_loop();
    uv_timer_t *timers = malloc(sizeof *timers * COUNT);
    uv_timer_t *again = malloc(sizeof *again * COUNT);
    if (!timers || !again) return 1;
    set_all(loop, timers, FAR);
    uint64_t start = cpu_nanos();
    for (int n = 0; n < COUNT; n++) uv_timer_stop(&timers[n]);
    double cancelled = (double)(cpu_nanos() - start) / COUNT;
    uv_update_time(loop);
    double inserted = set_all(loop, again, 0);
    start = cpu_nanos();
    uv_run(loop, UV_RUN_DEFAULT);
    double fired = (double)(cpu_nanos() - start) / COUNT;
    printf("%f %f %f\n", inserted, fired, cancelled);
    return 0;
}
