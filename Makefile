# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Build, test and install libshmcache; `make help` lists the targets.
#
# Sources are found by their place, so a new file needs no change here:
#
#   shm/*.c                  libshm.a, the mechanism below the cache (internal)
#   libshmcache/*.c          with shm/: libshmcache.so.0 and libshmcache.a
#   tools/shmcache*.c        one tool each; the folder's other files go into all
#   tools/NAME/*.c           parts of tools/shmcache-NAME.c; cli of shmcache.c
#   demo/, bench/*_bench.c   the same for the demo's and the bench programs
#   tests/unit/shm_*_test.c  cmocka, linked with libshm.a alone: a call from
#                            shm/ up into the cache fails to link
#   tests/unit/*_test.c      cmocka, linked with libshmcache.a
#   tests/multi, crash, fuzz, stress, regress/*_test.c
#                            one program each if it has a main(); the
#                            folder's other files and tests/support/ go into
#                            all of them
#
# Everything but shm/, libshmcache/ and tests/unit/ is compiled against the
# public headers alone: they are staged in $(BUILD)/include, and beside them
# stand links to the folders that may be included by their own files.

VERSION   := $(shell cat VERSION)
SO_MAJOR  := 0
BUILD     ?= build$(if $(SAN),-$(SAN))
PREFIX    ?= /usr/local
LIBDIR    ?= $(PREFIX)/lib
BINDIR    ?= $(PREFIX)/bin
INCDIR    ?= $(PREFIX)/include
MANDIR    ?= $(PREFIX)/share/man
DOCDIR    ?= $(PREFIX)/share/doc/shmcache
UNITDIR   ?= $(PREFIX)/lib/systemd/system
BASHDIR   ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR    ?= $(PREFIX)/share/zsh/site-functions
FISHDIR   ?= $(PREFIX)/share/fish/vendor_completions.d
OPT       ?= -O2 -g
PKG_CONFIG ?= pkg-config
ifeq ($(origin CC),default)
CC        := gcc
endif
ifeq ($(origin AR),default)
AR        := ar
endif

ifeq ($(V),1)
Q         :=
say       = @:
else
Q         := @
say       = @printf '  %-8s %s\n' "$(1)" "$(2)"
endif

# --- flags -----------------------------------------------------------------

WARNINGS  := -Wall -Wextra -Wshadow -Wundef -Wpointer-arith -Wcast-align \
	     -Wcast-qual -Wwrite-strings -Wstrict-prototypes \
	     -Wmissing-prototypes -Wvla -Wformat=2 $(if $(WERROR),-Werror)

ifeq ($(SAN),)
SAN_FLAGS :=
else ifeq ($(SAN),address)
SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all \
	     -fno-omit-frame-pointer
else ifeq ($(SAN),thread)
SAN_FLAGS := -fsanitize=thread -DSHM_TSAN -fno-omit-frame-pointer
else
$(error SAN=$(SAN) is unknown: use SAN=address or SAN=thread)
endif

# pkg-config is asked when the first recipe needs it, not when make starts: the
# set-up may have to install it before.
once = $(eval $(1) := $(shell $(PKG_CONFIG) $(2)))$($(1))
LIB_CFLAGS   = $(call once,LIB_CFLAGS,--cflags liburcu-bp ck)
LIB_PACKAGES = $(call once,LIB_PACKAGES,--libs liburcu-bp ck)
LIB_LIBS     = $(LIB_PACKAGES) -lm
TOOL_CFLAGS  = $(call once,TOOL_CFLAGS,--cflags popt jansson ncursesw liblzma)
TOOL_LIBS    = $(call once,TOOL_LIBS,--libs popt jansson ncursesw liblzma)
# Of what a bench can do without: it skips what is not there.
LMDB_LIBS    = $(call once,LMDB_LIBS,--libs lmdb 2>/dev/null)
SQLITE_LIBS  = $(call once,SQLITE_LIBS,--libs sqlite3 2>/dev/null)
LFHT_LIBS    = $(call once,LFHT_LIBS,--libs liburcu-cds 2>/dev/null)
BENCH_LIBS   = $(LMDB_LIBS) $(SQLITE_LIBS) $(LFHT_LIBS)
# Of shmcache-invalidate, which is built only where both libraries are.
BRIDGE_CFLAGS = $(call once,BRIDGE_CFLAGS,--cflags libpq hiredis)
BRIDGE_LIBS   = $(call once,BRIDGE_LIBS,--libs libpq hiredis)
HAS_BRIDGE   := $(shell $(PKG_CONFIG) --exists libpq hiredis && echo 1)
DEMO_CFLAGS  = $(call once,DEMO_CFLAGS,--cflags sqlite3)
DEMO_LIBS    = $(call once,DEMO_LIBS,--libs sqlite3)
UNIT_CFLAGS  = $(call once,UNIT_CFLAGS,--cflags cmocka)
UNIT_LIBS    = $(call once,UNIT_LIBS,--libs cmocka)

# _GNU_SOURCE is empty, as files that define it themselves do.  _LGPL_SOURCE
# inlines liburcu's read lock; sanitized builds call it instead, for liburcu
# 0.13 aligns its readers to 32 bytes where it told the compiler 128.
ALL_CFLAGS   = -std=gnu11 $(OPT) $(WARNINGS) $(SAN_FLAGS) -pthread \
	       -D_GNU_SOURCE= $(if $(SAN),,-D_LGPL_SOURCE) \
	       -DSHMCACHE_VERSION='"$(VERSION)"' $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS  = -pthread $(SAN_FLAGS) -Wl,-z,relro -Wl,-z,now \
	       -Wl,--as-needed $(LDFLAGS)

# The path of a get is a straight line, which vectors only cost moves from
# register to register (GCC 12).
LIB_OPT      := -fno-tree-slp-vectorize

STAGED       := $(BUILD)/include
PUBLIC       := $(BUILD)/public
OBJ          := $(BUILD)/obj
INTERNAL_INC := -I. -I$(STAGED)
PUBLIC_INC   := -I$(STAGED) -I$(PUBLIC)

# --- what there is ----------------------------------------------------------

objects      = $(patsubst %.c,$(OBJ)/%.o,$(1))
programs     = $(patsubst %.c,$(BUILD)/%,$(1))
with_main    = $(if $(1),$(shell grep -l '^main\b' $(1)))

SHM_SRCS     := $(wildcard shm/*.c)
LIB_SRCS     := $(wildcard libshmcache/*.c)
TOOL_MAINS   := $(wildcard tools/shmcache.c tools/shmcache-*.c)
TOOL_SHARED  := $(filter-out $(TOOL_MAINS),$(wildcard tools/*.c))
TOOL_PARTS   := $(wildcard tools/*/*.c)
ifeq ($(HAS_BRIDGE),)
TOOL_MAINS   := $(filter-out tools/shmcache-invalidate.c,$(TOOL_MAINS))
TOOL_PARTS   := $(filter-out tools/invalidate/%,$(TOOL_PARTS))
endif
DEMO_SRCS    := $(wildcard demo/*.c)
DEMO_MAINS   := $(call with_main,$(DEMO_SRCS))
DEMO_SHARED  := $(filter-out $(DEMO_MAINS),$(DEMO_SRCS))
BENCH_MAINS  := $(wildcard bench/*_bench.c)
BENCH_SHARED := $(filter-out $(BENCH_MAINS),$(wildcard bench/*.c))
UNIT_MAINS   := $(call with_main,$(wildcard tests/unit/*_test.c))
UNIT_SHARED  := $(filter-out $(UNIT_MAINS),$(wildcard tests/unit/*.c))
SUPPORT_SRCS := $(wildcard tests/support/*.c)

UNIT_SHM     := $(filter tests/unit/shm_%,$(UNIT_MAINS))
UNIT_LIB     := $(filter-out $(UNIT_SHM),$(UNIT_MAINS))

# Folders whose *_test.c and *_test.sh are programs of their own.
FOLDERS      := multi crash fuzz stress regress
folder_mains = $(call with_main,$(wildcard tests/$(1)/*_test.c))
folder_rest  = $(filter-out $(call folder_mains,$(1)), \
	       $(wildcard tests/$(1)/*.c))
FOLDER_MAINS := $(foreach f,$(FOLDERS),$(call folder_mains,$f))
FOLDER_REST  := $(foreach f,$(FOLDERS),$(call folder_rest,$f))

tests_of     = $(call programs,$(call folder_mains,$(1))) \
	       $(wildcard tests/$(1)/*_test.sh)

LIB_A        := $(BUILD)/libshmcache.a
SHM_A        := $(BUILD)/libshm.a
SUPPORT_A    := $(BUILD)/tests/libsupport.a
UNIT_A       := $(BUILD)/tests/libunit.a
SO_NAME      := libshmcache.so.$(SO_MAJOR)
SO           := $(BUILD)/libshmcache.so.$(VERSION)
TOOLS        := $(call programs,$(TOOL_MAINS))
COMPLETION   := $(BUILD)/completions/shmcache.bash
SERVICES     := $(patsubst tools/systemd/%.in,$(BUILD)/%, \
		$(wildcard tools/systemd/*.in))
DEMOS        := $(call programs,$(DEMO_MAINS))
BENCHES      := $(call programs,$(BENCH_MAINS))
UNITS        := $(call programs,$(UNIT_MAINS))
TESTS        := $(UNITS) $(call programs,$(FOLDER_MAINS))
SECTIONS     := 1 3 5 7 8
MAN_PAGES    := $(wildcard $(SECTIONS:%=docs/man/*.%))
DOCS         := README.md NEWS.md $(wildcard docs/*.md)

HEADERS      := $(STAGED)/shmcache.h $(STAGED)/shmcache_admin.h \
		$(STAGED)/shmcache_stats.def
EXPORTS      := $(BUILD)/exports.h
VIEWS        := $(patsubst %,$(PUBLIC)/%,$(wildcard tools demo bench tests))

ALL_OBJS     := $(call objects,$(SHM_SRCS) $(LIB_SRCS) $(TOOL_MAINS) \
		$(TOOL_SHARED) $(TOOL_PARTS) $(DEMO_SRCS) $(BENCH_MAINS) $(BENCH_SHARED) \
		$(UNIT_MAINS) $(UNIT_SHARED) $(SUPPORT_SRCS) $(FOLDER_MAINS) \
		$(FOLDER_REST))

# --- targets ----------------------------------------------------------------

.DEFAULT_GOAL := all
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all lib tools tests benches demo demos check stress install \
	bench bench-load bench-quick bench-large \
	uninstall completions clean help setup format check-format \
	check-layers check-man check-symbols check-docs check-install \
	check-package check-chroot check-models check-valgrind coverage tidy FORCE \
	$(FOLDERS:%=check-%) check-unit check-threads check-memory

all: lib tools
lib: $(LIB_A) $(SO) $(BUILD)/$(SO_NAME) $(BUILD)/libshmcache.so $(HEADERS) \
	$(BUILD)/shmcache.pc
tools: $(TOOLS) $(SERVICES)
completions: $(COMPLETION)
tests: $(TESTS)
benches: $(BENCHES)
demos: all $(DEMOS)

help:
	@printf '%s\n' \
	  'make                  the library and its tools, in build/' \
	  'make demo             build the demo and run it' \
	  'make check            build and run every test' \
	  'make check-unit       one part of it; also -multi, -crash, -regress,' \
	  '                      -fuzz, -models, -layers, -man, -symbols, -docs, -format' \
	  'make check-threads    the tests that stay in one process, for SAN=thread' \
	  'make check-memory     the tests worth a run with SAN=address' \
	  'make check-valgrind   the unit tests under valgrind' \
	  'make check-install    install to a scratch folder and use it from there' \
	  'make check-package    build the Debian packages, for lintian to look at' \
	  'make check-chroot     the same, and use them in a system of their own' \
	  'make stress           the long tests' \
	  'make coverage         branches that the tests take (gcovr)' \
	  'make bench            against the floor and alternatives, to docs/bench;' \
	  '                      bench-load: loads alone; bench-quick: ratios,' \
	  '                      in two minutes, against what is expected;' \
	  '                      bench-large: 100 million items' \
	  'make completions      those of the shells, in build/completions/' \
	  'make install          to DESTDIR/PREFIX (/usr/local); uninstall' \
	  'make format, tidy     apply clang-format, run clang-tidy (14)' \
	  'make clean' '' \
	  'V=1 shows commands, CC=clang, OPT="-O0 -g", WERROR=1, BUILD=folder,' \
	  'SAN=address or SAN=thread (each in a build folder of its own),' \
	  'SHARED=1 links the tools with libshmcache.so'

# What is missing is installed for `demo` and `check`, else only named.
SETUP := $(if $(filter demo,$(MAKECMDGOALS)),demo) \
	 $(if $(filter check,$(MAKECMDGOALS)),check) \
	 $(if $(filter bench bench-load bench-quick bench-large, \
	   $(MAKECMDGOALS)),bench)
PROBE := build $(if $(filter demos,$(MAKECMDGOALS)),demo) \
	 $(if $(filter tests check-unit check-threads \
	   check-memory,$(MAKECMDGOALS)),tests)
setup:
	$(Q)CC='$(CC)' scripts/setup.sh \
	  $(if $(strip $(SETUP)),$(SETUP),--probe $(PROBE))

# Objects depend on the flags they were compiled with.
$(BUILD)/flags: FORCE | setup
	@mkdir -p $(@D)
	@printf '%s\n' "$$FLAGS" | cmp -s - $@ || printf '%s\n' "$$FLAGS" >$@
$(BUILD)/flags: export FLAGS = $(CC) $(ALL_CFLAGS) $(LIB_OPT) $(ALL_LDFLAGS)

$(STAGED)/shmcache_stats.def: libshmcache/stats.def
	@mkdir -p $(@D)
	@cp $< $@
$(STAGED)/%.h: libshmcache/%.h
	@mkdir -p $(@D)
	@cp $< $@
$(VIEWS): $(PUBLIC)/%:
	@mkdir -p $(@D)
	@ln -sfn '$(CURDIR)/$*' $@

# The functions of the public headers are visible, all others hidden.
$(EXPORTS): $(HEADERS)
	@printf '%s\n' '#pragma GCC visibility push(default)' \
	  '#include <shmcache.h>' '#include <shmcache_admin.h>' \
	  '#pragma GCC visibility pop' >$@

# --- compiling --------------------------------------------------------------

# $(1): flags of the folder
define compile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(1) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
endef

$(ALL_OBJS): $(BUILD)/flags | setup $(HEADERS) $(EXPORTS) $(VIEWS)

$(OBJ)/shm/%.o: shm/%.c
	$(call compile,-fPIC -fvisibility=hidden $(LIB_OPT) -I. $(LIB_CFLAGS))
$(OBJ)/libshmcache/%.o: libshmcache/%.c
	$(call compile,-fPIC -fvisibility=hidden $(LIB_OPT) -include $(EXPORTS) \
	  $(INTERNAL_INC) $(LIB_CFLAGS))
$(OBJ)/tests/unit/%.o: tests/unit/%.c
	$(call compile,$(INTERNAL_INC) $(LIB_CFLAGS) $(UNIT_CFLAGS))
$(OBJ)/demo/%.o: demo/%.c
	$(call compile,$(PUBLIC_INC) $(TOOL_CFLAGS) $(DEMO_CFLAGS))
$(OBJ)/bench/%.o: bench/%.c
	$(call compile,$(PUBLIC_INC) $(LIB_CFLAGS) -DBENCH_FLAGS='"$(OPT)"')
$(OBJ)/tools/invalidate/%.o: tools/invalidate/%.c
	$(call compile,$(PUBLIC_INC) $(TOOL_CFLAGS) $(BRIDGE_CFLAGS))
$(OBJ)/%.o: %.c
	$(call compile,$(PUBLIC_INC) $(TOOL_CFLAGS))

# --- linking ----------------------------------------------------------------

define archive
	$(call say,AR,$@)
	@mkdir -p $(@D) && rm -f $@
	$(Q)$(AR) rcsD $@ $(filter %.o,$^)
endef
# $(1): libraries
define link
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(1) -o $@
endef

$(SHM_A): $(call objects,$(SHM_SRCS))
	$(archive)
$(LIB_A): $(call objects,$(LIB_SRCS) $(SHM_SRCS))
	$(archive)
$(SUPPORT_A): $(call objects,$(SUPPORT_SRCS))
	$(archive)
# From an archive, a test takes what it calls: what helps the tests of the
# cache is not dragged into those of shm/.
$(UNIT_A): $(call objects,$(UNIT_SHARED))
	$(archive)

# A process that unloads the library would leave threads whose destructors
# point into it, hence nodelete.  Sanitized objects keep undefined symbols.
$(SO): $(call objects,$(LIB_SRCS) $(SHM_SRCS)) libshmcache/libshmcache.map
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(ALL_LDFLAGS) -Wl,-soname,$(SO_NAME) \
	  -Wl,--version-script=libshmcache/libshmcache.map \
	  -Wl,-z,nodelete $(if $(SAN),,-Wl,-z,defs) \
	  $(filter %.o,$^) $(LIB_LIBS) -o $@
$(BUILD)/$(SO_NAME) $(BUILD)/libshmcache.so: $(SO)
	@ln -sfn $(notdir $(SO)) $@

$(BUILD)/shmcache.pc: libshmcache/shmcache.pc.in VERSION FORCE
	@mkdir -p $(@D)
	@sed -e '/^#/d' -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' \
	  -e 's|@INCLUDEDIR@|$(INCDIR)|' -e 's|@VERSION@|$(VERSION)|' $< >$@

$(SERVICES): $(BUILD)/%: tools/systemd/%.in FORCE
	@mkdir -p $(@D)
	@sed -e 's|@BINDIR@|$(BINDIR)|' $< >$@

# SHARED=1 is for packages, which install both; else the tools need nothing to
# be installed or found at run time.
$(TOOLS): $(BUILD)/tools/%: $(OBJ)/tools/%.o \
    $(call objects,$(TOOL_SHARED)) $(if $(SHARED),$(SO),$(LIB_A))
	$(call link,$(if $(SHARED),$(SO)) $(TOOL_LIBS) \
	  $(if $(SHARED),,$(LIB_LIBS)) \
	  $(if $(filter %/shmcache-invalidate,$@),$(BRIDGE_LIBS)) -lresolv -lm)
$(foreach t,$(TOOLS),$(eval $t: $(call objects, \
  $(wildcard $(patsubst shmcache,tools/cli/*.c, \
    $(patsubst shmcache-%,tools/%/*.c,$(notdir $t)))))))
# Three files, one for each shell, made by asking the tools.
$(COMPLETION): $(TOOLS) $(BUILD)/$(SO_NAME) scripts/completions.sh
	$(call say,GEN,$(@D))
	$(Q)LD_LIBRARY_PATH='$(abspath $(BUILD))' \
	  scripts/completions.sh $(BUILD)/tools $(@D)
$(DEMOS): $(BUILD)/demo/%: $(OBJ)/demo/%.o \
    $(call objects,$(DEMO_SHARED)) $(LIB_A)
	$(call link,$(TOOL_LIBS) $(DEMO_LIBS) $(LIB_LIBS) -lm)
$(BENCHES): $(BUILD)/bench/%: $(OBJ)/bench/%.o \
    $(call objects,$(BENCH_SHARED)) $(LIB_A)
	$(call link,$(BENCH_LIBS) $(LIB_LIBS) -lm)
$(call programs,$(UNIT_SHM)): $(BUILD)/tests/unit/%: $(OBJ)/tests/unit/%.o \
    $(UNIT_A) $(SHM_A)
	$(call link,$(UNIT_LIBS) $(LIB_LIBS))
$(call programs,$(UNIT_LIB)): $(BUILD)/tests/unit/%: $(OBJ)/tests/unit/%.o \
    $(UNIT_A) $(LIB_A)
	$(call link,$(UNIT_LIBS) $(LIB_LIBS))

define folder
$(call programs,$(call folder_mains,$(1))): $(BUILD)/tests/$(1)/%: \
    $(OBJ)/tests/$(1)/%.o $(call objects,$(call folder_rest,$(1))) \
    $(SUPPORT_A) $(LIB_A)
	$$(call link,$$(TOOL_LIBS) $$(LIB_LIBS) -lm)
endef
$(foreach f,$(FOLDERS),$(if $(call folder_mains,$f),$(eval $(call folder,$f))))

-include $(ALL_OBJS:.o=.d)

# --- testing ----------------------------------------------------------------

RUN          = $(Q)SHMCACHE_BUILD='$(abspath $(BUILD))' CC='$(CC)' tests/run.sh
check        = $(Q)$(1) || [ $$? = 77 ]
MODELS       = $(wildcard tests/models/run.sh)
STAGE_models = --check models $(if $(MODELS),'$(MODELS) $(BUILD)/models')
PLANTED      = tests/mutants/run.sh $(BUILD)/mutants tests/mutants/planted.list
STAGE_rules  = --check rules scripts/check-layers.sh \
	       $(wildcard docs/man/check.sh) 'scripts/check-symbols.sh $(SO)'
STAGE_docs   = --check docs 'scripts/check-docs.sh $(BUILD)'

check: all tests
	$(RUN) --stage unit $(call tests_of,unit) \
	  --stage multi $(call tests_of,multi) \
	  --stage crash $(call tests_of,crash) \
	  --stage fuzz $(call tests_of,fuzz) \
	  --stage regress $(call tests_of,regress) \
	  $(STAGE_models) $(STAGE_rules) $(STAGE_docs)

define one_stage
check-$(1): all $(call tests_of,$(1))
	$$(RUN) --stage $(1) $(call tests_of,$(1))
endef
$(foreach f,unit $(filter-out stress,$(FOLDERS)),$(eval $(call one_stage,$f)))
# Those that stay in one process: ThreadSanitizer sees no other.
THREADS := $(filter %_threads_test,$(TESTS))
check-threads: all $(UNITS) $(THREADS)
	$(RUN) --stage unit $(UNITS) --stage threads $(THREADS)
# Those worth another run under AddressSanitizer.
check-memory: all $(call tests_of,unit) $(call tests_of,multi)
	$(RUN) --stage unit $(call tests_of,unit) \
	  --stage multi $(call tests_of,multi)
check-models:
	$(RUN) $(STAGE_models)
check-layers:
	$(call check,scripts/check-layers.sh)
check-man:
	$(call check,docs/man/check.sh)
check-symbols: lib
	$(call check,scripts/check-symbols.sh $(SO))
check-docs: all
	$(call check,scripts/check-docs.sh $(BUILD))
check-format:
	$(call check,scripts/check-format.sh)
check-install: all
	$(Q)CC='$(CC)' scripts/check-install.sh $(BUILD)
check-package:
	$(call check,scripts/check-package.sh)
check-chroot:
	$(call check,scripts/check-package.sh --chroot)

# What takes long: many operations, every state and step of the crash stepper,
# the larger configurations of the models, mistakes that tests must notice, and
# the packages in a system made for them.
stress: all $(foreach f,stress crash fuzz multi,$(call tests_of,$f))
	$(RUN) --timeout 3600 --stage stress $(call tests_of,stress) \
	  '$(BUILD)/tests/multi/faults_test --errors 27' \
	  '$(BUILD)/tests/multi/load_test --rounds 1000 --changes 30000' \
	  '$(BUILD)/tests/multi/lock_test --kills 3000' \
	  '$(BUILD)/tests/multi/between_test --every 11' \
	  --stage crash '$(BUILD)/tests/crash/step_test --all --seconds 200' \
	  --stage fuzz '$(BUILD)/tests/fuzz/damage_test --every 1 --rounds 300000' \
	  --check models $(if $(MODELS),'$(MODELS) $(BUILD)/models full') \
	  --check planted '$(PLANTED)' \
	  --check valgrind '$(MAKE) check-valgrind' \
	  --check package 'scripts/check-package.sh --chroot'

# Lines and branches of shm/ and libshmcache/ that the tests of $(COVERED) and
# some damaged segments take, from a clean build; those of crash/ kill their
# processes, which then count nothing.  A function that is inlined is counted
# once, not in each of its copies.  Children keep their counts (counts.h) by
# __gcov_dump(), which nobody else calls.
COVERED  ?= unit multi
COVERAGE := build-coverage
coverage:
	$(Q)command -v gcovr >/dev/null || { echo 'gcovr is not installed'; \
	  exit 77; }
	$(Q)rm -rf $(COVERAGE)
	$(Q)umask 0; TEST_PATIENCE=5 $(MAKE) BUILD=$(COVERAGE) OPT='-O0 -g' \
	  CPPFLAGS=-Dalways_inline=__unused__ CFLAGS=--coverage \
	  LDFLAGS='--coverage -Wl,-u,__gcov_dump' $(COVERED:%=check-%) \
	  $(COVERAGE)/tests/fuzz/damage_test
	$(Q)TEST_PATIENCE=5 $(COVERAGE)/tests/fuzz/damage_test --every 151 \
	  --rounds 100
	$(Q)cd $(COVERAGE) && gcovr --root .. --branches --print-summary \
	  --filter ../shm/ --filter ../libshmcache/ .

# The unit tests under valgrind, which must not complain of anything.  (It would
# take what a forked child leaves behind for leaks; those are for SAN=address.)
VALGRIND ?= valgrind -q --error-exitcode=9 --leak-check=no \
	    --child-silent-after-fork=yes
check-valgrind: $(UNITS)
	$(Q)command -v valgrind >/dev/null || { echo 'valgrind is not installed'; \
	  exit 77; }
	$(Q)RUN_PREFIX='$(VALGRIND)' TEST_PATIENCE=20 tests/run.sh \
	  --timeout 3600 --stage valgrind $(UNITS)

bench bench-load bench-quick bench-large: all $(BENCHES)
	$(Q)bench/run.sh $(BUILD) $(patsubst bench-%,%,$@)
demo: all $(DEMOS)
	$(Q)demo/run.sh $(BUILD)

format:
	$(Q)scripts/check-format.sh --apply
tidy: $(HEADERS)
	$(Q)clang-tidy-14 --quiet $(SHM_SRCS) $(LIB_SRCS) -- -std=gnu11 \
	  $(INTERNAL_INC) -D_GNU_SOURCE= -D_LGPL_SOURCE \
	  -DSHMCACHE_VERSION='"$(VERSION)"' $(LIB_CFLAGS)

# --- installing -------------------------------------------------------------

# Shells look for a file named after the command.
TOOL_NAMES = $(notdir $(TOOLS))
OTHERS     = $(filter-out shmcache,$(TOOL_NAMES))

# What is installed: MODE:SOURCE:DESTINATION, or link:TARGET:DESTINATION.
# $(1): mode, $(2): folder, $(3): files
place     = $(foreach f,$(3),$(1):$(f):$(2)/$(notdir $(f)))
INSTALLED = $(call place,644,$(INCDIR),$(HEADERS)) \
	    $(call place,644,$(LIBDIR),$(LIB_A)) \
	    $(call place,755,$(LIBDIR),$(SO)) \
	    link:$(notdir $(SO)):$(LIBDIR)/$(SO_NAME) \
	    link:$(SO_NAME):$(LIBDIR)/libshmcache.so \
	    $(call place,644,$(LIBDIR)/pkgconfig,$(BUILD)/shmcache.pc) \
	    $(call place,755,$(BINDIR),$(TOOLS)) \
	    $(foreach s,$(SECTIONS),$(call place,644,$(MANDIR)/man$s, \
	      $(filter %.$s,$(MAN_PAGES)))) \
	    644:$(COMPLETION):$(BASHDIR)/shmcache \
	    $(call place,644,$(ZSHDIR),$(dir $(COMPLETION))_shmcache) \
	    $(call place,644,$(FISHDIR),$(dir $(COMPLETION))shmcache.fish) \
	    $(foreach t,$(OTHERS),link:shmcache:$(BASHDIR)/$t \
	      link:shmcache.fish:$(FISHDIR)/$t.fish) \
	    $(call place,644,$(UNITDIR),$(SERVICES)) \
	    $(call place,644,$(DOCDIR),$(DOCS))

install: all completions
	$(Q)set -e; IFS=:; for item in $(INSTALLED); do \
	  set -- $$item; to='$(DESTDIR)'$$3; \
	  case $$1 in \
	  link) mkdir -p "$${to%/*}"; ln -sfn "$$2" "$$to" ;; \
	  *) install -D -m "$$1" "$$2" "$$to" ;; \
	  esac; \
	done

uninstall:
	$(Q)IFS=:; for item in $(INSTALLED); do \
	  set -- $$item; rm -f '$(DESTDIR)'"$$3"; \
	done
	$(Q)rmdir '$(DESTDIR)$(DOCDIR)' 2>/dev/null || :

clean:
	rm -rf $(BUILD)
