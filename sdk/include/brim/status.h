/* status.h - how every call of Brim reports failure.
 *
 * A call returns brim_status; 0 is success. A call that can say more takes a brim_error that the caller owns (its stack
 * is fine; NULL means "not interested"). It is written only on failure. Nothing is allocated on the error path, nothing
 * has to be freed, there is no "last error". A message names the thing (file, tensor, key, device), what was expected,
 * what was found, and what to try.
 */
#ifndef BRIM_STATUS_H
#define BRIM_STATUS_H

#include "types.h"

typedef uint32_t brim_status;
#define BRIM_OK 0u
#define BRIM_CANCELLED 1u
#define BRIM_INVALID_ARGUMENT 2u
#define BRIM_NOT_FOUND 3u
#define BRIM_ALREADY_EXISTS 4u
#define BRIM_PERMISSION_DENIED 5u
#define BRIM_OUT_OF_MEMORY 6u       /* detail: {pool index, bytes requested, bytes available, 0} */
#define BRIM_FAILED_PRECONDITION 7u /* the object is in the wrong state for this call */
#define BRIM_UNSUPPORTED 8u
#define BRIM_INCOMPATIBLE 9u /* ABI version, instruction set, driver */
#define BRIM_DATA_CORRUPT 10u
#define BRIM_DEADLINE 11u
#define BRIM_DEVICE_LOST 12u /* sticky: every later call on that device returns it; other devices go on */
#define BRIM_BUSY 13u
#define BRIM_IO 14u
#define BRIM_INTERNAL 15u
#define BRIM_CONTEXT_FULL 16u /* detail: {tokens held, tokens asked for, context size, 0} */
/* An unknown code from a newer peer is handled as BRIM_INTERNAL. */

/* The code's name in lower case, "out of memory". "unknown status" for a code this header does not know. */
static inline const char *brim_status_name(brim_status status) {
  static const char *const names[] = {"ok",
                                      "cancelled",
                                      "invalid argument",
                                      "not found",
                                      "already exists",
                                      "permission denied",
                                      "out of memory",
                                      "failed precondition",
                                      "unsupported",
                                      "incompatible",
                                      "data corrupt",
                                      "deadline",
                                      "device lost",
                                      "busy",
                                      "input/output error",
                                      "internal error",
                                      "context full"};
  return status < sizeof(names) / sizeof(names[0]) ? names[status] : "unknown status";
}

#define BRIM_DOMAIN_HOST 0u
#define BRIM_DOMAIN_BACKEND 1u
#define BRIM_DOMAIN_ARCHITECTURE 2u
#define BRIM_DOMAIN_OS 3u
#define BRIM_DOMAIN_DRIVER 4u

typedef struct brim_error {
  uint32_t struct_size;
  brim_status code;
  int32_t native_code; /* errno, GetLastError, CUresult, VkResult; 0 if none */
  uint32_t domain;     /* BRIM_DOMAIN_* */
  uint64_t detail[4];  /* as the code says; 0 otherwise */
  char message[512];   /* one sentence or two, UTF-8, always terminated */
} brim_error;

BRIM_STATIC_ASSERT(sizeof(brim_error) == 16 + 32 + 512, "brim_error, ABI 0.1");

#endif
