/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * screen.h - the terminal as a whole, by ncurses
 *
 * Between begin and end, curses' own calls may be made too.
 */
#ifndef TOOLS_STAT_SCREEN_H
#define TOOLS_STAT_SCREEN_H

enum screen_colour { COLOUR_HEADING = 1, COLOUR_ALARM };

/* Returns TOOL_GO_ON or, having said why there is none, TOOL_USAGE. */
int screen_begin(void);

/* Give the terminal back; may be called again. */
void screen_end(void);

/* Text, cut where the screen ends. */
void screen_text(int row, const char *text);
void screen_line(int row, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* TOOLS_STAT_SCREEN_H */
