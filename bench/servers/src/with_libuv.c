/* The same by libuv: one buffer for all reads, since each is written at once and a message is far
 * smaller than a socket's buffer. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define READ 4096

static char shared[READ];

static void check(const char *what, int result) {
  if (result < 0) {
    fprintf(stderr, "libuv: %s: %s\n", what, uv_strerror(result));
    exit(1);
  }
}

static void closed(uv_handle_t *handle) { free(handle); }

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)handle, (void)suggested;
  *buffer = uv_buf_init(shared, READ);
}

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
  if (count == 0) return;
  if (count < 0) {
    if (count != UV_EOF) check("read", (int)count);
    uv_close((uv_handle_t *)stream, closed);
    return;
  }
  uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)count);
  int written = uv_try_write(stream, &answer, 1);
  check("write", written);
  if (written < count) {
    fprintf(stderr, "libuv: a message was taken in part\n");
    exit(1);
  }
}

static void connected(uv_stream_t *listener, int status) {
  check("connection", status);
  uv_tcp_t *stream = malloc(sizeof *stream);
  if (stream == NULL) abort();
  check("init", uv_tcp_init(listener->loop, stream));
  check("accept", uv_accept(listener, (uv_stream_t *)stream));
  check("nodelay", uv_tcp_nodelay(stream, 1));
  check("read_start", uv_read_start((uv_stream_t *)stream, lend, received));
}

/* Ends this process when its input does. */
static void *end_with_input(void *nothing) {
  char byte;
  while (read(0, &byte, 1) > 0) continue;
  exit(0);
  return nothing;
}

int main(int count, char **arguments) {
  if (count > 1 && strcmp(arguments[1], "--version") == 0) {
    puts(uv_version_string());
    return 0;
  }
  uv_loop_t *loop = uv_default_loop();
  uv_tcp_t listener;
  struct sockaddr_in address;
  int length = sizeof address;
  pthread_t watcher;
  check("address", uv_ip4_addr("127.0.0.1", 0, &address));
  check("init", uv_tcp_init(loop, &listener));
  check("bind", uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0));
  check("listen", uv_listen((uv_stream_t *)&listener, 4096, connected));
  check("name", uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length));
  if (pthread_create(&watcher, NULL, end_with_input, NULL) != 0) return 1;
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}
