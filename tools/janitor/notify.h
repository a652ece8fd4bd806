/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * notify.h - tell the service manager how we are
 *
 * The protocol of sd_notify(3), which is stable and small: a datagram of
 * NAME=VALUE lines to the socket that NOTIFY_SOCKET names.  Without a manager
 * that asks for it nothing happens.
 */
#ifndef TOOLS_JANITOR_NOTIFY_H
#define TOOLS_JANITOR_NOTIFY_H

#include <stdint.h>

/* Send "READY=1", "STATUS=text" and so on. */
void notify_manager(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/*
 * The manager ends us if it does not get "WATCHDOG=1" for this time; -1 if it
 * does not watch us.
 */
int64_t notify_watchdog_ms(void);

#endif /* TOOLS_JANITOR_NOTIFY_H */
