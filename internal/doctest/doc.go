// Package doctest runs what the documentation says: every command of every page,
// in page order, in a fresh folder with a network of its own, with the programs of
// this repository; and every block of YAML through the check of its kind.
//
// A block of commands is a fence of the language console. A line that begins with
// "$ " is a command, and goes on after a backslash and through a here-document;
// the other lines are what it prints, in order: numbers stand for any number, "…"
// for any text, and a line of only "…" for any lines. A command has to succeed, or
// the next one is `echo $?`. `meterseal serve` and `meterseal-vendor serve` go on
// while the page does, until the line "^C" or the next one of the same program.
//
// Comments that readers do not see say the rest, on a line of their own:
//
//	<!-- setup: site -->     at the top of a page: what is there before it begins
//	<!-- not run: REASON --> before a block: nothing here can run it
//
// A block of YAML is a configuration of the site or a part of one; a second word
// says what else it is: ```yaml vendor, ```yaml prometheus, ```yaml alerts.
package doctest
