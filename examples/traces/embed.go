// Package traces holds two recorded traces of real services, for demo and
// tests; see README.md for their sources.
package traces

import "embed"

// Files holds nasa-http-1995.txt.gz and azure-llm-code-2023.csv.gz.
//
//go:embed *.gz
var Files embed.FS

// Ground truth of the traces.
const (
	NASA         = "nasa-http-1995.txt.gz"
	NASAStart    = "1995-07-01T04:00:01Z" // instant of its first number
	NASARequests = 3_461_610

	LLM                = "azure-llm-code-2023.csv.gz"
	LLMContextTokens   = 18_059_974
	LLMGeneratedTokens = 245_896
)
