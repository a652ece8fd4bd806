/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * top.c - one cache on the whole screen, until q is pressed
 *
 * A few lines of numbers stay; below them is a panel, chosen by a key, which is
 * text like that of the table and can be scrolled.  What is read from the cache
 * is read once per interval; keys and a new size of the terminal only draw it
 * again.  Of the entries a piece of the index is looked at each time, so that a
 * large cache takes several intervals and none of them long.
 *
 * Nothing here waits but poll(), which signals end.
 */
#include "tools/stat/top.h"

#include "tools/common.h"
#include "tools/stat/screen.h"
#include "tools/stat/show.h"

#include <curses.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS_PER_INTERVAL (UINT64_C(1) << 17)
#define ROWS_MIN           12
#define COLUMNS_MIN        50
#define HEAD_ROWS          7
#define LINE_BYTES         512
#define SCROLL_END         SIZE_MAX

enum panel {
	PANEL_KEYS,
	PANEL_NUMBERS,
	PANEL_THREADS,
	PANEL_ENTRIES,
	PANEL_ADVICE,
	PANEL_HELP,
	PANEL_COUNT
};

static const struct {
	int key;
	const char *label;
} panels[PANEL_COUNT] = { { 'k', "keys" }, { 'n', "numbers" },
	{ 't', "threads" }, { 'e', "entries" }, { 'a', "advice" },
	{ 'h', "help" } };

struct top {
	struct shmcache *cache; /* NULL while there is none */
	const char *name;
	double interval_s;
	struct report now;  /* zero while there is none */
	struct report last; /* the one before, for rates */
	struct report rates;
	struct key_list hot;
	struct census running;
	struct census done; /* the last complete one */
	struct selection selection;
	enum panel panel;
	size_t scroll; /* SCROLL_END stays at the end when lines are added */
	size_t panel_lines;
	const char *message; /* instead of numbers; NULL: none */
};

static volatile sig_atomic_t stop_signal;

static void
on_signal(int signal_number)
{
	stop_signal = signal_number;
}

/* --- collecting ----------------------------------------------------------- */

static void
forget_numbers(struct top *top)
{
	report_free(&top->now);
	report_free(&top->last);
	memset(&top->rates, 0, sizeof(top->rates));
	keys_free(&top->hot);
	census_free(&top->running);
	census_free(&top->done);
}

static int
collect_entries(struct top *top)
{
	int error;

	error = keys_fold_hot(top->cache, &top->hot);
	if (!error) {
		error =
		    census_go_on(top->cache, &top->running, SLOTS_PER_INTERVAL);
	}
	if (!error && top->running.is_complete) {
		census_free(&top->done);
		top->done = top->running;
		memset(&top->running, 0, sizeof(top->running));
	}
	return error;
}

static int
collect_numbers(struct top *top)
{
	int error;

	report_free(&top->last);
	top->last = top->now;
	memset(&top->now, 0, sizeof(top->now));
	error = report_collect(top->cache, top->name, &top->now);
	if (!error) {
		error = report_collect_details(top->cache, 0, &top->now);
	}
	top->rates = top->now;
	if (!error && top->last.name) {
		report_since(&top->rates, &top->last);
	}
	return error;
}

/* Returns TOOL_OK or, having said why on a screen given back, an exit code. */
static int
collect(struct top *top)
{
	int error = 0;

	if (!top->cache) {
		error = report_open(top->name, &top->cache);
	}
	if (!error) {
		error = collect_numbers(top);
	}
	if (!error) {
		error = collect_entries(top);
	}
	if (error == SHMCACHE_EREMOVED || error == SHMCACHE_ENOCACHE) {
		(void)shmcache_close(top->cache);
		top->cache = NULL;
		forget_numbers(top);
		top->message = "the cache was removed: waiting until it is "
			       "created anew";
		return TOOL_OK;
	}
	if (error) {
		screen_end();
		return tool_fail(top->name, error);
	}
	top->message = NULL;
	return TOOL_OK;
}

/* --- drawing -------------------------------------------------------------- */

/* A field as people say it, in one of a few buffers that take turns. */
static const char *
say(const struct report *report, const char *name)
{
	static char texts[16][NUMBER_BYTES_MAX];
	static unsigned next;
	const struct field *field = field_find(name, strlen(name));
	struct value value = field_value(report, field);
	char *text = texts[next++ % 16];

	field_format_human(text, field, &value);
	return text;
}

static void
draw_numbers(const struct top *top)
{
	const struct report *r = &top->rates;

	if (top->message) {
		screen_line(2, "%s", top->message);
		return;
	}
	screen_line(1,
	    "per second: gets %s  hits %s  sets %s  deletes %s  "
	    "evictions %s  expired %s",
	    say(r, "gets"), say(r, "hit_ratio"), say(r, "sets"),
	    say(r, "deletes"), say(r, "evictions"), say(r, "expired"));
	screen_line(2, "memory: %s of %s live (%s)  dead %s  free %s",
	    say(r, "live_bytes"), say(r, "arena_bytes"), say(r, "live_ratio"),
	    say(r, "dead_bytes"), say(r, "free_bytes"));
	screen_line(3, "items: %s  index load %s  extents: %s free  %s pinned",
	    say(r, "items"), say(r, "index_load"), say(r, "extents_free"),
	    say(r, "extents_pinned"));
	screen_line(4,
	    "since creation: gets half below %s, 99 %% %s; sets half below "
	    "%s, 99 %% %s",
	    say(&top->now, "get_p50_ns"), say(&top->now, "get_p99_ns"),
	    say(&top->now, "set_p50_ns"), say(&top->now, "set_p99_ns"));
	screen_line(5,
	    "attached: %s processes (%s dead)  %s of %s threads  janitor: %s",
	    say(r, "processes"), say(r, "processes_dead"), say(r, "peers"),
	    say(r, "peer_slots"), report_is_swept(r) ? "at work" : "not seen");
}

static void
draw_head(const struct top *top)
{
	char line[LINE_BYTES];
	char time[16] = "";
	struct tm local = { 0 };
	struct timespec now;
	size_t used = 0;
	int i;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)localtime_r(&now.tv_sec, &local);
	(void)strftime(time, sizeof(time), "%H:%M:%S", &local);
	(void)attron(A_BOLD);
	screen_line(0, "%s  %s  every %g s", time, top->name, top->interval_s);
	(void)attroff(A_BOLD);
	draw_numbers(top);

	for (i = 0; i < PANEL_COUNT && used < sizeof(line); i++) {
		used += (size_t)snprintf(line + used, sizeof(line) - used,
		    i == (int)top->panel ? "[%c %s] " : " %c %s  ",
		    panels[i].key, panels[i].label);
	}
	(void)attron(A_REVERSE);
	screen_line(HEAD_ROWS - 1, "%-*.*s", COLS, COLS, line);
	(void)attroff(A_REVERSE);
	if (top->now.advice_count) {
		(void)attron(COLOR_PAIR(COLOUR_ALARM) | A_BOLD);
		if (COLS > 60) {
			(void)mvprintw(HEAD_ROWS - 1, COLS - 12,
			    " %zu advice%s ", top->now.advice_count,
			    top->now.advice_count == 1 ? " " : "s");
		}
		(void)attroff(COLOR_PAIR(COLOUR_ALARM) | A_BOLD);
	}
}

/* --- panels --------------------------------------------------------------- */

static void
write_key_list(FILE *out, const struct key_list *list, size_t most)
{
	char bytes[NUMBER_BYTES_MAX];
	char ttl[NUMBER_BYTES_MAX];
	size_t i;

	for (i = 0; i < list->count && i < most; i++) {
		const struct key *key = &list->keys[i];

		field_format_bytes(bytes, key->bytes);
		(void)snprintf(ttl, sizeof(ttl), "-");
		if (key->ttl_ms >= 0) {
			(void)snprintf(ttl, sizeof(ttl), "%.1f s",
			    (double)key->ttl_ms / 1000);
		}
		(void)fprintf(out, "  %5.1f %%  %9s  %12s  %s\n",
		    100.0 * key->weight / list->total, bytes, ttl, key->text);
	}
}

static const struct census *
known_census(const struct top *top)
{
	return top->done.is_complete ? &top->done : &top->running;
}

/* Half of the room for each, so that both are seen without scrolling. */
static void
write_keys(FILE *out, const struct top *top)
{
	int rows = LINES - HEAD_ROWS - 5;
	size_t half = rows > 4 ? (size_t)rows / 2 : 2;
	const struct census *census = known_census(top);

	(void)fprintf(out, "Hot keys, by sampled gets\n");
	(void)fprintf(
	    out, "  %7s  %9s  %12s  %s\n", "gets", "size", "ttl", "key");
	write_key_list(out, &top->hot, half);
	(void)fprintf(out, "\nBig keys, of %" PRIu64 " entries%s\n",
	    census->entries, top->done.is_complete ? "" : " so far");
	(void)fprintf(
	    out, "  %7s  %9s  %12s  %s\n", "memory", "size", "ttl", "key");
	write_key_list(out, &census->big, KEYS_BIG_MAX);
}

static void
write_help(FILE *out)
{
	size_t i;

	(void)fprintf(out, "Keys\n");
	for (i = 0; i < PANEL_COUNT; i++) {
		(void)fprintf(
		    out, "  %c  %s\n", panels[i].key, panels[i].label);
	}
	(void)fprintf(out,
	    "  arrows, page up, page down, home, end  scroll\n"
	    "  + -  longer, shorter interval\n"
	    "  space  look now\n"
	    "  q  quit\n\n"
	    "Numbers are those of the last interval.  Hot keys are what was\n"
	    "read by the gets that were timed of late.\n");
}

static void
write_panel(FILE *out, const struct top *top)
{
	switch (top->panel) {
	case PANEL_KEYS:
		write_keys(out, top);
		break;
	case PANEL_NUMBERS:
		show_fields(out, &top->rates, &top->selection, 1);
		break;
	case PANEL_THREADS:
		show_processes(out, &top->now);
		show_peers(out, &top->now);
		show_pins(out, &top->now);
		break;
	case PANEL_ENTRIES:
		show_census(out, known_census(top));
		break;
	case PANEL_ADVICE:
		show_advice(out, &top->now);
		if (!top->now.advice_count) {
			(void)fprintf(out, "Nothing to advise: all is well.\n");
		}
		break;
	default:
		write_help(out);
		break;
	}
}

static int
is_heading(const char *line)
{
	return line[0] != ' ';
}

/* The first line that is shown: never so far down that rows stay empty. */
static size_t
first_line(const struct top *top)
{
	size_t rows = (size_t)(LINES > HEAD_ROWS ? LINES - HEAD_ROWS : 0);
	size_t most = top->panel_lines > rows ? top->panel_lines - rows : 0;

	return top->scroll < most ? top->scroll : most;
}

static size_t
count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text; text++) {
		lines += *text == '\n';
	}
	return lines;
}

static void
draw_lines(struct top *top, char *text)
{
	size_t first, number = 0;
	char *line;

	while (*text == '\n') {
		text++;
	}
	top->panel_lines = count_lines(text);
	first = first_line(top);
	while ((line = strsep(&text, "\n")) && (*line || text)) {
		if (number >= first &&
		    number - first < (size_t)(LINES - HEAD_ROWS)) {
			int is_bold = is_heading(line);

			if (is_bold) {
				(void)attron(COLOR_PAIR(COLOUR_HEADING));
			}
			screen_text(HEAD_ROWS + (int)(number - first), line);
			if (is_bold) {
				(void)attroff(COLOR_PAIR(COLOUR_HEADING));
			}
		}
		number++;
	}
}

static void
draw(struct top *top)
{
	char *text = NULL;
	size_t text_bytes;
	FILE *out;

	(void)erase();
	if (LINES < ROWS_MIN || COLS < COLUMNS_MIN) {
		screen_line(
		    0, "too small: %dx%d is needed", COLUMNS_MIN, ROWS_MIN);
		screen_line(1, "q quits");
		(void)refresh();
		return;
	}
	draw_head(top);
	out = top->message ? NULL : open_memstream(&text, &text_bytes);
	if (out) {
		write_panel(out, top);
		if (!fclose(out)) {
			draw_lines(top, text);
		}
		free(text);
	}
	(void)refresh();
}

/* --- the loop ----------------------------------------------------------- */

static void
scroll_by(struct top *top, int lines)
{
	size_t first = first_line(top), up = (size_t)-lines;

	if (lines < 0) {
		top->scroll = first > up ? first - up : 0;
	} else {
		top->scroll = first + (size_t)lines;
	}
}

static void
change_interval(struct top *top, double factor)
{
	double interval_s = top->interval_s * factor;

	if (interval_s >= 0.25 && interval_s <= 60) {
		top->interval_s = interval_s;
	}
}

static void
choose_panel(struct top *top, int key)
{
	int i;

	for (i = 0; i < PANEL_COUNT; i++) {
		if (panels[i].key == key) {
			top->panel = (enum panel)i;
			top->scroll = 0;
		}
	}
}

/* Returns 1 if the key asks to quit, -1 if it asks for new numbers. */
static int
obey(struct top *top, int key)
{
	switch (key) {
	case 'q':
	case 'Q':
	case 3: /* Ctrl-C of a terminal that does not make it a signal */
		return 1;
	case ' ':
		return -1;
	case '+':
		change_interval(top, 2);
		break;
	case '-':
		change_interval(top, 0.5);
		break;
	case KEY_UP:
		scroll_by(top, -1);
		break;
	case KEY_DOWN:
		scroll_by(top, 1);
		break;
	case KEY_PPAGE:
		scroll_by(top, -(LINES - HEAD_ROWS - 1));
		break;
	case KEY_NPAGE:
		scroll_by(top, LINES - HEAD_ROWS - 1);
		break;
	case KEY_HOME:
		top->scroll = 0;
		break;
	case KEY_END:
		top->scroll = SCROLL_END;
		break;
	case '?':
		choose_panel(top, 'h');
		break;
	default:
		choose_panel(top, key);
		break;
	}
	return 0;
}

static int64_t
now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Obeys keys until the interval is over.  Returns 1 if it is time to quit. */
static int
wait_and_obey(struct top *top)
{
	int64_t begun_ms = now_ms();
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	int64_t left_ms;
	int key;
	int wish;

	while (!stop_signal) {
		left_ms =
		    begun_ms + (int64_t)(top->interval_s * 1000) - now_ms();
		if (left_ms <= 0) {
			return 0;
		}
		if (poll(&input, 1, (int)left_ms) > 0 &&
		    !(input.revents & POLLIN)) {
			return 1; /* the terminal has gone */
		}
		while ((key = getch()) != ERR) {
			wish = obey(top, key);
			if (wish) {
				return wish > 0;
			}
		}
		draw(top);
	}
	return 1;
}

static void
catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

static int
run(struct top *top)
{
	int code;

	do {
		code = collect(top);
		if (code == TOOL_OK) {
			draw(top);
		}
	} while (code == TOOL_OK && !wait_and_obey(top));
	return code;
}

int
top_run(struct shmcache **cache, const char *name, double interval_s)
{
	struct top top = {
		.cache = *cache, .name = name, .interval_s = interval_s
	};
	int code;

	code = field_select(&top.selection, NULL);
	if (code != TOOL_GO_ON) {
		return code;
	}
	code = screen_begin();
	if (code == TOOL_GO_ON) {
		catch_signals();
		code = run(&top);
		screen_end();
	}
	forget_numbers(&top);
	field_select_free(&top.selection);
	*cache = top.cache;
	return code;
}
