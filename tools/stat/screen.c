/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* screen.c - the terminal as a whole, by ncurses */
#include "tools/stat/screen.h"

#include "tools/common.h"

#include <curses.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#define LINE_BYTES 512

static SCREEN *screen; /* NULL: given back, or never taken */

static void
set_up(void)
{
	const char *no_color = getenv("NO_COLOR"); /* NOLINT: one thread */

	(void)cbreak();
	(void)noecho();
	(void)nodelay(stdscr, TRUE);
	(void)keypad(stdscr, TRUE);
	(void)curs_set(0);
	if ((!no_color || !*no_color) && has_colors()) {
		(void)start_color();
		(void)use_default_colors();
		(void)init_pair(COLOUR_HEADING, COLOR_CYAN, -1);
		(void)init_pair(COLOUR_ALARM, COLOR_YELLOW, -1);
	}
}

int
screen_begin(void)
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		return tool_usage("top needs a terminal: give -i SECONDS for "
				  "rows instead");
	}
	(void)setlocale(LC_CTYPE, ""); /* NOLINT: one thread */
	screen = newterm(NULL, stdout, stdin);
	if (!screen) {
		return tool_usage("the terminal is of no known kind: set TERM");
	}
	set_up();
	return TOOL_GO_ON;
}

void
screen_end(void)
{
	if (screen) {
		(void)endwin();
		delscreen(screen);
		screen = NULL;
	}
}

void
screen_text(int row, const char *text)
{
	mbstate_t state = { 0 };
	wchar_t character;
	int column = 0;
	int width;
	size_t bytes;

	if (row >= LINES || move(row, 0) == ERR) {
		return;
	}
	for (; *text; text += bytes) {
		bytes = mbrtowc(&character, text, strlen(text), &state);
		if (bytes == (size_t)-1 || bytes == (size_t)-2) {
			memset(&state, 0, sizeof(state));
			character = L'?';
			bytes = 1;
		}
		width = wcwidth(character);
		width = width < 0 ? 1 : width;
		if (column + width > COLS) {
			break;
		}
		(void)addnwstr(&character, 1);
		column += width;
	}
}

void
screen_line(int row, const char *format, ...)
{
	char text[LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	screen_text(row, text);
}
