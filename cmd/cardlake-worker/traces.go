package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/keyflags"
)

// traceEndpoint is where the environment wants traces sent (OpenTelemetry, "OTLP Exporter
// Configuration"), empty if nowhere.
func traceEndpoint(getenv func(string) string) string {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return ""
	}
	return cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
}

func traceFaults(getenv func(string) string, plain bool) []error {
	endpoint := traceEndpoint(getenv)
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return []error{errors.New("OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https URL")}
	}
	// The SDK lets the variables of INSECURE override the URL's scheme.
	isPlain := u.Scheme == "http" || strings.EqualFold(getenv("OTEL_EXPORTER_OTLP_INSECURE"), "true") ||
		strings.EqualFold(getenv("OTEL_EXPORTER_OTLP_TRACES_INSECURE"), "true")
	if isPlain && !keyflags.IsLoopback(u.Hostname()) && !plain {
		return []error{errors.New("OTEL_EXPORTER_OTLP_ENDPOINT is not on loopback: TLS is needed, give an https URL (or -trace-plain, on a network that protects it)")}
	}
	return nil
}

// newTraces returns where spans go, nil if the environment names nothing. Headers, time-outs,
// certificates and sampling are the SDK's variables too.
func newTraces(ctx context.Context, o *options, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	if traceEndpoint(os.Getenv) == "" {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	attributes := []attribute.KeyValue{
		attribute.String("service.name", "cardlake-worker"), attribute.String("service.version", cardlake.Version),
	}
	if o.instance != "" {
		attributes = append(attributes, attribute.String("service.instance.id", o.instance))
	}
	about, err := resource.New(ctx, resource.WithAttributes(attributes...), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", "error", err) }))
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about)), nil
}

// endTraces sends the last spans, for a moment.
func endTraces(p *sdktrace.TracerProvider, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		log.Warn("the last traces were not sent", "error", err)
	}
}
