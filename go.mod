module github.com/meterseal/meterseal

go 1.26.0

// What the product links. Each line says why it is here; internal/tidy asks for it.
require (
	filippo.io/age v1.3.2 // reports wrapped for one recipient: age encryption
	filippo.io/mldsa v0.0.0-20260215214346-43d0283efc3e // ML-DSA-44 keys of checkpoints, verified where a site has enrolled one
	github.com/boombuler/barcode v1.1.0 // QR codes of the documents that travel where no medium passes
	github.com/cespare/xxhash/v2 v2.3.0 // hash of event ids in the duplicates index; Pebble links it anyway
	github.com/cockroachdb/pebble/v2 v2.1.7 // the store under projections: atomic batches, a crashable file system for tests
	github.com/coreos/go-oidc/v3 v3.21.0 // sign-in to the portal through a provider: discovery, keys, id tokens
	github.com/coreos/go-systemd/v22 v22.7.0 // tells systemd when a daemon is ready, and that it needs more time
	github.com/danielgtaylor/huma/v2 v2.37.2 // JSON schemas of the OpenAPI document, from Go types
	github.com/go-webauthn/webauthn v0.18.2 // passkeys of the portal's users
	github.com/goccy/go-yaml v1.19.2 // the configuration file: errors with line and column
	github.com/google/go-tpm v0.9.8 // TPM 2.0: seals the site key, counts starts and closes
	github.com/jackc/pgx/v5 v5.12.0 // PostgreSQL under the portal, through database/sql
	github.com/klauspost/compress v1.20.3 // zstd of stream groups and reports
	github.com/makiuchi-d/gozxing v0.1.1 // QR codes out of photos: the port of ZXing, the one Go reader that finds several in one picture
	github.com/nats-io/jwt/v2 v2.8.2 // credentials of nodes in the form that every NATS client reads
	github.com/nats-io/nats-server/v2 v2.15.2 // the embedded JetStream under events/stream
	github.com/nats-io/nats.go v1.55.0 // the NATS client: external servers, replay, applications
	github.com/nats-io/nkeys v0.4.16 // keys of those credentials; the server and its client link it anyway
	github.com/pressly/goose/v3 v3.29.0 // numbered changes of the portal's schema, one process at a time
	github.com/prometheus/client_golang v1.25.0 // /metrics in the Prometheus text format
	github.com/schollz/progressbar/v3 v3.19.1 // progress of demo, replay and report on a terminal
	github.com/spf13/cobra v1.10.2 // commands, help and shell completion
	github.com/transparency-dev/formats v0.1.1 // C2SP checkpoint and proof formats, as witnesses parse them
	github.com/yuin/goldmark v1.8.7 // the documentation that site and portal show, out of Markdown
	go.opentelemetry.io/otel v1.47.0 // attributes of those metrics
	go.opentelemetry.io/otel/metric v1.47.0 // metrics of the Go package meter: the interface alone, applications bring the rest
	golang.org/x/crypto v0.58.0 // argon2id: passwords of the portal
	golang.org/x/mod v0.42.0 // C2SP signed notes and the tlog tree: sumdb/note, sumdb/tlog
	golang.org/x/oauth2 v0.37.0 // the code flow with PKCE, under go-oidc
	golang.org/x/sync v0.25.0 // errgroup: one group of goroutines per binary
	golang.org/x/sys v0.49.0 // CLOCK_BOOTTIME, the clock that nobody sets
	golang.org/x/term v0.47.0 // is this a terminal, and its width
	modernc.org/sqlite v1.61.1 // usage.db renderings without cgo
)

// Tests, benchmarks and packages only: not linked into a released binary.
require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // bench: latency percentiles
	github.com/chromedp/cdproto v0.159.0 // the protocol of Chromium, for what chromedp has no word for
	github.com/chromedp/chromedp v0.23.0 // drives the Chromium in which the portal's pages are tested
	github.com/cpuguy83/go-md2man/v2 v2.0.6 // man pages out of Markdown; cobra writes its own with it
	github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6 // sign-in of that SMTP server
	github.com/emersion/go-smtp v0.25.1 // an SMTP server that the portal's mails are handed to
	github.com/google/go-cmp v0.7.0 // readable differences in tests
	github.com/rogpeppe/go-internal v1.16.0 // testscript: stories of the commands
	github.com/spf13/pflag v1.0.10 // flags of commands, as their man pages list them
	github.com/transparency-dev/merkle v0.0.2 // a second implementation that the tree is compared with
	pgregory.net/rapid v1.3.0 // property tests and state machines
)

// Tools and their versions: tools/*/go.mod.
tool github.com/meterseal/meterseal/internal/task

require (
	filippo.io/hpke v0.4.0 // indirect
	github.com/DataDog/zstd v1.5.7 // indirect
	github.com/RaduBerinde/axisds v0.1.0 // indirect
	github.com/RaduBerinde/btreemap v0.0.0-20250419174037-3d62b7205d54 // indirect
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cockroachdb/crlib v0.0.0-20241112164430-1264a2edc35b // indirect
	github.com/cockroachdb/errors v1.11.3 // indirect
	github.com/cockroachdb/logtags v0.0.0-20230118201751-21c54148d20b // indirect
	github.com/cockroachdb/redact v1.1.5 // indirect
	github.com/cockroachdb/swiss v0.0.0-20260820225851-333444432258 // indirect
	github.com/cockroachdb/tokenbucket v0.0.0-20230807174530-cc333fc44b06 // indirect
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/fxamacker/cbor/v2 v2.9.4 // indirect
	github.com/getsentry/sentry-go v0.27.0 // indirect
	github.com/go-jose/go-jose/v4 v4.1.4 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/go-viper/mapstructure/v2 v2.5.0 // indirect
	github.com/go-webauthn/x v0.3.1 // indirect
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/golang/snappy v0.0.5-0.20231225225746-43d5d4cd4e0e // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/kr/pretty v0.3.1 // indirect
	github.com/kr/text v0.2.0 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/mfridman/interpolate v0.0.2 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/minio/minlz v1.0.1-0.20250507153514-87eb42fe8882 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/philhofer/fwd v1.2.0 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	github.com/tinylib/msgp v1.6.4 // indirect
	github.com/x448/float16 v0.8.4 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/exp v0.0.0-20261011100332-faecfb24eb49 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	golang.org/x/tools v0.52.0 // indirect
	golang.org/x/xerrors v0.0.0-20200804184101-5ec99f83aff1 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	modernc.org/libc v1.79.0 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
)
