/* TCP echo on libuv.
 *
 *   echo-with-libuv CONNECTIONS BYTES    serves so many connections, with a buffer of so many bytes
 *   echo-with-libuv version              says libuv's version
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* What the kernel did not take at once. */
struct rest {
    uv_write_t request;
    char bytes[];
};

static uv_tcp_t listener;
static int to_come;
/* Reads and what answers them follow each other, so that one buffer serves all connections. */
static char *buffer;
static size_t size;

static void check(int result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "libuv: %s: %s\n", what, uv_strerror(result));
        exit(1);
    }
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

static void on_written(uv_write_t *request, int result) {
    check(result, "write");
    free(request);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *into) {
    (void)handle;
    (void)suggested;
    *into = uv_buf_init(buffer, size);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *read) {
    if (count == UV_EOF) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    check(count, "read");
    uv_buf_t answer = uv_buf_init(read->base, count);
    int taken = count == 0 ? 0 : uv_try_write(stream, &answer, 1);
    if (taken == UV_EAGAIN)
        taken = 0;
    check(taken, "write");
    if (taken == count)
        return;
    struct rest *rest = malloc(sizeof *rest + count - taken);
    memcpy(rest->bytes, read->base + taken, count - taken);
    uv_buf_t left = uv_buf_init(rest->bytes, count - taken);
    check(uv_write(&rest->request, stream, &left, 1, on_written), "write");
}

static void on_connection(uv_stream_t *server, int result) {
    check(result, "accept");
    uv_tcp_t *socket = malloc(sizeof *socket);
    check(uv_tcp_init(server->loop, socket), "socket");
    check(uv_accept(server, (uv_stream_t *)socket), "accept");
    check(uv_tcp_nodelay(socket, 1), "nodelay");
    check(uv_read_start((uv_stream_t *)socket, on_alloc, on_read), "read");
    /* The loop ends when all handles are closed. */
    if (--to_come == 0)
        uv_close((uv_handle_t *)server, NULL);
}

int main(int count, char **arguments) {
    if (count == 2 && strcmp(arguments[1], "version") == 0) {
        puts(uv_version_string());
        return 0;
    }
    if (count != 3) {
        fprintf(stderr, "usage: %s CONNECTIONS BYTES\n", arguments[0]);
        return 2;
    }
    to_come = atoi(arguments[1]);
    size = atoi(arguments[2]);
    buffer = malloc(size);
    /* Nobody may be there any more to close it. */
    alarm(180);

    struct sockaddr_in address;
    int length = sizeof address;
    check(uv_tcp_init(uv_default_loop(), &listener), "socket");
    check(uv_ip4_addr("127.0.0.1", 0, &address), "address");
    check(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0), "bind");
    check(uv_listen((uv_stream_t *)&listener, 511, on_connection), "listen");
    check(uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length), "address");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
