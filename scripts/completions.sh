#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# completions.sh TOOLS FOLDER - write the shell completions of the tools
#
# TOOLS is the folder of the built tools.  What can be completed is what their
# --help says, which is made from their option tables: so there is nothing to
# keep in step.  Writes shmcache.bash, _shmcache (zsh) and shmcache.fish, each
# for all of the tools.

set -euo pipefail
export LC_ALL=C
[ $# = 2 ] || {
	echo "usage: scripts/completions.sh TOOLS FOLDER" >&2
	exit 2
}
tools=$1 folder=$2
[ -x "$tools/shmcache" ] || {
	echo "there is no $tools/shmcache" >&2
	exit 1
}
mkdir -p "$folder"
facts=$(mktemp)
trap 'rm -f "$facts"' EXIT

# The help of "$1 $2" (a tool and a command, which may be empty) as facts, with
# tabs between their words:
#
#	arguments  TOOL  COMMAND  NAME [FILE]  WORD
#	option     TOOL  COMMAND  LETTER  WORD  ARGUMENT  TEXT
#
# WORD, of arguments, is one that may stand before them as it is.
help_facts() {
	# shellcheck disable=SC2086
	"$tools/$1" $2 --help | awk -v OFS='\t' -v tool="$1" -v command="$2" '
	function flush() {
		if (word != "")
			print "option", tool, command, letter, word, argument, text
		word = ""
	}
	/^Usage:/ {
		line = $0
		sub(/.*\[OPTION(\.\.\.\]|\]\.\.\.) ?/, "", line)
		literal = ""
		if (match(line, /^\[\[[a-z]+\] /)) {
			literal = substr(line, 3, RLENGTH - 4)
			line = "[" substr(line, RLENGTH + 1)
		}
		print "arguments", tool, command, line, literal
	}
	/^ +(-., )?--[a-z]/ {
		flush()
		letter = ($1 ~ /^-.,$/) ? substr($1, 2, 1) : ""
		match($0, /--[a-z][a-z-]*/)
		word = substr($0, RSTART + 2, RLENGTH - 2)
		text = substr($0, RSTART + RLENGTH)
		argument = ""
		if (match(text, /^[= ][A-Z]+/)) {
			argument = substr(text, 2, RLENGTH - 1)
			text = substr(text, RLENGTH + 1)
		}
		sub(/^ +/, "", text)
		next
	}
	/^               / && word != "" {
		line = $0
		sub(/^ +/, "", line)
		text = text (text == "" ? "" : " ") line
		next
	}
	{ flush() }
	END { flush() }'
}

# The commands that a tool's --help lists:
#
#	command  TOOL  COMMAND  TEXT
command_facts() {
	"$tools/$1" --help | awk -v OFS='\t' -v tool="$1" '
	/^Commands:/ { listed = 1; next }
	/^$/ { listed = 0 }
	listed {
		name = $1
		sub(/^ +[^ ]+ +/, "")
		print "command", tool, name, $0
	}'
}

for tool in "$tools"/shmcache "$tools"/shmcache-*; do
	[ -x "$tool" ] || continue
	tool=${tool##*/}
	command_facts "$tool" >"$facts.commands"
	cat "$facts.commands"
	if [ -s "$facts.commands" ]; then
		cut -f 3 "$facts.commands" | while read -r command; do
			help_facts "$tool" "$command"
		done
	else
		help_facts "$tool" ''
	fi
	rm "$facts.commands"
done >"$facts"

# --- bash ---------------------------------------------------------------------

{
	cat <<'END'
# Completion of the shmcache tools, made from their --help.

# What is known of "TOOL COMMAND": its options, and after them those that
# take an argument, and its arguments.
_shmcache_facts() {
	options=() valued=' ' files=' ' arguments='' literal=''
	case $1 in
END
	awk -F '\t' '
	{ key = $2 ($3 == "" || $1 == "command" ? "" : " " $3) }
	$1 == "arguments" {
		keys[++count] = key
		arguments[key] = $4
		literal[key] = $5
	}
	$1 == "option" {
		names = ($4 == "" ? "" : "-" $4 " ") "--" $5
		options[key] = options[key] " " names
		if ($6 != "")
			valued[key] = valued[key] " " names
		if ($6 == "FILE")
			files[key] = files[key] " " names
	}
	END {
		for (i = 1; i <= count; i++) {
			key = keys[i]
			printf "\t\"%s\")\n", key
			printf "\t\toptions=(%s)\n", substr(options[key], 2)
			printf "\t\tvalued='"'%s '"'\n", valued[key]
			if (files[key] != "")
				printf "\t\tfiles='"'%s '"'\n", files[key]
			printf "\t\targuments='"'%s'"'\n", arguments[key]
			if (literal[key] != "")
				printf "\t\tliteral=%s\n", literal[key]
			printf "\t\t;;\n"
		}
	}' "$facts"
	cat <<'END'
	esac
}

_shmcache_commands() {
	case $1 in
END
	awk -F '\t' '
	$1 == "command" { words[$2] = words[$2] " " $3 }
	END {
		for (tool in words)
			printf "\t%s) echo '"'%s'"' ;;\n", tool,
			    substr(words[tool], 2)
	}' "$facts"
	cat <<'END'
	esac
}

# Adds those of the words after $1 that begin with $1.
_shmcache_offer() {
	local start=$1 word
	shift
	for word; do
		[[ $word == "$start"* ]] &&
		    COMPREPLY+=("$(printf '%q' "$word")")
	done
}

_shmcache_files() {
	compopt -o filenames
	mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_shmcache() {
	local tool=${COMP_WORDS[0]##*/} current=${COMP_WORDS[COMP_CWORD]}
	local first=1 command='' word skip='' kind file
	local -a options places=() words
	local valued files arguments literal commands

	COMPREPLY=()
	commands=$(_shmcache_commands "$tool")
	if [ -n "$commands" ]; then
		if [ "$COMP_CWORD" = 1 ]; then
			# shellcheck disable=SC2086
			_shmcache_offer "$current" $commands --help --version
			return
		fi
		command=" ${COMP_WORDS[1]}"
		first=2
	fi
	_shmcache_facts "$tool$command"

	# The words of the line that are arguments
	for word in "${COMP_WORDS[@]:first:COMP_CWORD-first}"; do
		if [ -n "$skip" ]; then
			[ "$word" = "=" ] || skip=
		elif [[ $valued == *" $word "* ]]; then
			skip=$word
		elif [[ $word != -* ]]; then
			places+=("$word")
		fi
	done
	if [ -n "$skip" ]; then
		[[ $files != *" $skip "* ]] || _shmcache_files "$current"
		return
	fi
	if [[ $current == -* ]]; then
		_shmcache_offer "$current" "${options[@]}"
		return
	fi
	if [ -n "$literal" ]; then
		if [ ${#places[@]} = 0 ]; then
			_shmcache_offer "$current" "$literal"
		elif [ "${places[0]}" = "$literal" ]; then
			places=("${places[@]:1}")
		fi
	fi
	read -r -a words <<<"$arguments"
	kind=${words[${#places[@]}]-}
	[ -n "$kind" ] || [[ $arguments != *... ]] || kind=${words[-1]}
	case $kind in
	*NAME*)
		for file in /dev/shm/shmcache.*; do
			[ ! -f "$file" ] ||
			    _shmcache_offer "$current" \
				"${file#/dev/shm/shmcache.}"
		done
		;;
	*FILE*)
		_shmcache_files "$current"
		;;
	esac
}

END
	printf 'complete -F _shmcache'
	cut -f 2 "$facts" | sort -u | sed 's/^/ /' | tr -d '\n'
	echo
} >"$folder/shmcache.bash"

# --- zsh ----------------------------------------------------------------------

# Words in single quotes that _arguments and _describe read, so that : [ ] are
# escaped too.
zsh_functions='
function quoted(text) {
	gsub(/[]\\:[]/, "\\\\&", text)
	gsub(/\047/, "\047\\\\\047\047", text)
	return text
}'

{
	echo "#compdef $(cut -f 2 "$facts" | sort -u | tr '\n' ' ')"
	cat <<'END'
# Completion of the shmcache tools, made from their --help.

_shmcache_names() {
	local -a names
	names=(/dev/shm/shmcache.*(N.:t))
	compadd -- "${names[@]#shmcache.}"
}

# $1: "TOOL COMMAND"
_shmcache_arguments() {
	case $1 in
END
	awk -F '\t' "$zsh_functions"'
	{ key = $2 ($3 == "" || $1 == "command" ? "" : " " $3) }
	function place(number, word,    action, optional) {
		action = word ~ /NAME/ ? "_shmcache_names" : \
		    word ~ /FILE/ ? "_files" : " "
		optional = word ~ /^\[/ ? ":" : ""
		number = word ~ /\.\.\.\]?$/ ? "*" : number
		gsub(/[][.]/, "", word)
		return sprintf(" \\\n\t\t    \047%s:%s%s:%s\047", number,
		    number == "*" ? "" : optional, word, action)
	}
	$1 == "arguments" {
		keys[++count] = key
		words = split($4, word, " ")
		if ($5 != "")
			spec[key] = " \\\n\t\t    \0471:NAME: _alternative \"words:command:(" \
			    $5 ")\" \"names:NAME:_shmcache_names\"\047"
		for (i = 1; i <= words; i++)
			spec[key] = spec[key] place(i + ($5 != ""), word[i])
	}
	$1 == "option" {
		text = "[" quoted($7) "]" ($6 == "" ? "" : \
		    ":" $6 ":" ($6 == "FILE" ? "_files" : " "))
		long = "--" $5 ($6 == "" ? "" : "=")
		short = $4 == "" ? "" : "-" $4
		exclude = "(" (short == "" ? "" : short " ") "--" $5 ")"
		spec[key] = spec[key] " \\\n\t\t    \047" exclude long text \
		    "\047"
		if (short != "")
			spec[key] = spec[key] " \\\n\t\t    \047" exclude \
			    short ($6 == "" ? "" : "+") text "\047"
	}
	END {
		for (i = 1; i <= count; i++)
			printf "\t\"%s\")\n\t\t_arguments -s -S%s\n\t\t;;\n",
			    keys[i], spec[keys[i]]
	}' "$facts"
	cat <<'END'
	esac
}

_shmcache_commands() {
	local -a commands
	case $1 in
END
	awk -F '\t' "$zsh_functions"'
	$1 == "command" {
		words[$2] = words[$2] "\n\t\t    \047" $3 ":" quoted($4) "\047"
	}
	END {
		for (tool in words)
			printf "\t%s)\n\t\tcommands=(%s)\n\t\t;;\n", tool,
			    words[tool]
	}' "$facts"
	cat <<'END'
	esac
	(( ${#commands} )) || return 1
	_describe -t commands command commands
}

_shmcache() {
	local tool=$service command=''
	if _shmcache_has_commands "$tool"; then
		if (( CURRENT == 2 )); then
			_shmcache_commands "$tool"
			return
		fi
		command=" $words[2]"
		shift words
		(( CURRENT-- ))
	fi
	_shmcache_arguments "$tool$command"
}

END
	# shellcheck disable=SC2016
	printf '_shmcache_has_commands() {\n\t[[ " %s " == *" $1 "* ]]\n}\n\n' \
	    "$(awk -F '\t' '$1 == "command" { print $2 }' "$facts" | sort -u |
		tr '\n' ' ')"
	echo '_shmcache "$@"'
} >"$folder/_shmcache"

# --- fish ---------------------------------------------------------------------

{
	cat <<'END'
# Completion of the shmcache tools, made from their --help.

function __shmcache_names
    for file in /dev/shm/shmcache.*
        string replace -r '^/dev/shm/shmcache\.' '' -- $file
    end
end

END
	awk -F '\t' '
	function quoted(text) {
		gsub(/\\/, "\\\\", text)
		gsub(/\047/, "\\\047", text)
		return "\047" text "\047"
	}
	$1 == "command" {
		printf "complete -c %s -f -n __fish_use_subcommand -a %s -d %s\n",
		    $2, $3, quoted($4)
		next
	}
	{
		seen = $3 == "" ? "" : \
		    " -n " quoted("__fish_seen_subcommand_from " $3)
	}
	$1 == "arguments" {
		printf "complete -c %s%s%s -a \047%s(__shmcache_names)\047\n",
		    $2, seen, $4 ~ /FILE/ ? "" : " -f", $5 == "" ? "" : $5 " "
	}
	$1 == "option" {
		printf "complete -c %s%s%s -l %s%s -d %s\n", $2, seen,
		    $4 == "" ? "" : " -s " $4, $5, $6 == "" ? "" : $6 == "FILE" ? " -r -F" : " -x",
		    quoted($7)
	}' "$facts"
} >"$folder/shmcache.fish"
