/* What the broker takes at most: RabbitMQ's C client, so many messages unconfirmed at a time.
 *
 * relay_limit HOST PORT USER PASSWORD VHOST BODIES WINDOW
 *
 * Source: https://github.com/alanxz/rabbitmq-c, https://www.rabbitmq.com/docs/confirms
 */
#define _GNU_SOURCE
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST 10000000

static void must(int holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "%s\n", what);
    exit(1);
  }
}

static void must_answer(amqp_connection_state_t connection, const char *what) {
  must(amqp_get_rpc_reply(connection).reply_type == AMQP_RESPONSE_NORMAL, what);
}

static double now(void) {
  struct timespec moment;
  clock_gettime(CLOCK_MONOTONIC, &moment);
  return (double)moment.tv_sec + (double)moment.tv_nsec / 1e9;
}

/* Confirms come in any order, and some are for all up to a number: so each is marked. */
static char *marks;
static uint64_t lowest = 1;

static uint64_t mark(uint64_t tag) {
  uint64_t is_new = !marks[tag];
  marks[tag] = 1;
  while (marks[lowest]) lowest++;
  return is_new;
}

/* Wait for one answer; how many more messages are confirmed by it. */
static uint64_t confirmed(amqp_connection_state_t connection) {
  amqp_frame_t frame;
  amqp_maybe_release_buffers(connection);
  must(amqp_simple_wait_frame(connection, &frame) == AMQP_STATUS_OK, "the broker hung up");
  must(frame.frame_type == AMQP_FRAME_METHOD, "a message came back");
  must(frame.payload.method.id == AMQP_BASIC_ACK_METHOD, "a message was refused");
  amqp_basic_ack_t *ack = frame.payload.method.decoded;
  uint64_t more = 0;
  if (ack->multiple)
    while (lowest < ack->delivery_tag) more += mark(lowest);
  return more + mark(ack->delivery_tag);
}

int main(int argc, char **argv) {
  must(argc == 8, "seven arguments are needed");
  uint64_t window = strtoull(argv[7], NULL, 10), sent = 0, done = 0;
  amqp_connection_state_t connection = amqp_new_connection();
  amqp_socket_t *tcp = amqp_tcp_socket_new(connection);
  must(tcp && amqp_socket_open(tcp, argv[1], atoi(argv[2])) == 0, "the broker cannot be reached");
  amqp_rpc_reply_t login = amqp_login(connection, argv[5], 0, 131072, 0, AMQP_SASL_METHOD_PLAIN,
                                      argv[3], argv[4]);
  must(login.reply_type == AMQP_RESPONSE_NORMAL, "the broker refuses the user");
  amqp_channel_open(connection, 1);
  must_answer(connection, "no channel");
  amqp_confirm_select(connection, 1);
  must_answer(connection, "no confirms");

  marks = calloc(MOST + 2, 1);
  must(marks != NULL, "no memory");
  FILE *bodies = fopen(argv[6], "r");
  must(bodies != NULL, "no bodies");
  amqp_basic_properties_t properties = {
      ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_APP_ID_FLAG,
      .content_type = amqp_cstring_bytes("application/cloudevents+json"),
      .delivery_mode = 2,
      .correlation_id = amqp_cstring_bytes("01890a5d-ac96-774b-bcce-b302099a8057"),
      .message_id = amqp_cstring_bytes("01890a5d-ac96-774b-bcce-b302099a8057"),
      .timestamp = 1700000000,
      .type = amqp_cstring_bytes("order.placed.v1"),
      .app_id = amqp_cstring_bytes("orders"),
  };
  char *line = NULL;
  size_t room = 0;
  double began = now();
  for (ssize_t length; (length = getline(&line, &room, bodies)) > 0; sent++) {
    must(sent < MOST, "too many bodies");
    while (sent - done >= window) done += confirmed(connection);
    amqp_bytes_t body = {.len = (size_t)length - 1, .bytes = line};
    must(amqp_basic_publish(connection, 1, amqp_cstring_bytes("events"),
                            amqp_cstring_bytes("order.placed"), 1, 0, &properties,
                            body) == AMQP_STATUS_OK, "the broker hung up");
  }
  while (done < sent) done += confirmed(connection);
  printf("{\"number\": %llu, \"seconds\": %f}\n", (unsigned long long)sent, now() - began);
  free(line);
  fclose(bodies);
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
  amqp_destroy_connection(connection);
  return 0;
}
