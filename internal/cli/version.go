package cli

// Version of both programs, which are released together. Documents and records
// name it. It is a variable for builds that call themselves something else:
// -ldflags '-X github.com/meterseal/meterseal/internal/cli.Version=1.0.1'.
var Version = "1.0.0"

// Released is the day of that version, the date of every file in its packages: so
// the same source gives the same bytes on any day.
const Released = "2026-11-27"
