// Package statusutil stands in for the Collector's internal module of the same name, which not every Go module proxy
// has. It does what that module's callers rely on (OTLP, "Failures" of OTLP/gRPC and of OTLP/HTTP).
package statusutil

import (
	"net/http"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NewStatusFromMsgAndHTTPCode is the status that the body of an HTTP failure holds.
func NewStatusFromMsgAndHTTPCode(message string, httpCode int) *status.Status {
	code := codes.Unknown
	switch httpCode {
	case http.StatusBadRequest:
		code = codes.InvalidArgument
	case http.StatusUnauthorized:
		code = codes.Unauthenticated
	case http.StatusForbidden:
		code = codes.PermissionDenied
	case http.StatusNotFound:
		code = codes.Unimplemented
	case http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = codes.Unavailable
	}
	return status.New(code, message)
}

// GetRetryInfo is the wait that a failure asks for, or nil.
func GetRetryInfo(failure *status.Status) *errdetails.RetryInfo {
	for _, detail := range failure.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info
		}
	}
	return nil
}
