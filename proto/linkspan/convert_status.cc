#include "linkspan/convert_status.h"

#include "linkspan/convert.h"
#include "linkspan/limits.h"

namespace linkspan::wire {

grpc::StatusCode status_code(Code code) {
  switch (code) {
    case Code::not_found:
      return grpc::StatusCode::NOT_FOUND;
    case Code::no_attribute:
      return grpc::StatusCode::NOT_FOUND;
    case Code::exists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case Code::access_denied:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Code::not_permitted:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Code::read_only:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Code::name_too_long:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Code::invalid:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Code::loop:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Code::too_large:
      return grpc::StatusCode::OUT_OF_RANGE;
    case Code::attribute_too_big:
      return grpc::StatusCode::OUT_OF_RANGE;
    case Code::not_directory:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::is_directory:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::not_empty:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::cross_volume:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::too_many_links:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::stale_node:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::session_lost:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::no_space:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Code::quota:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Code::busy:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Code::conflict:
      return grpc::StatusCode::ABORTED;
    case Code::would_block:
      return grpc::StatusCode::ABORTED;
    case Code::deadlock:
      return grpc::StatusCode::ABORTED;
    case Code::timed_out:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case Code::unavailable:
      return grpc::StatusCode::UNAVAILABLE;
    case Code::fenced:
      return grpc::StatusCode::UNAVAILABLE;
    case Code::interrupted:
      return grpc::StatusCode::CANCELLED;
    case Code::unauthenticated:
      return grpc::StatusCode::UNAUTHENTICATED;
    case Code::unsupported:
      return grpc::StatusCode::UNIMPLEMENTED;
    case Code::io:
      return grpc::StatusCode::INTERNAL;
    case Code::internal:
      return grpc::StatusCode::INTERNAL;
  }
  return grpc::StatusCode::INTERNAL;
}

Code code_from(uint32_t code) {
  if (code < static_cast<uint32_t>(Code::internal) || code > static_cast<uint32_t>(Code::fenced))
    return Code::internal;  // of a newer peer
  return static_cast<Code>(code);
}

grpc::Status status_of(const Error& error) {
  return grpc::Status(status_code(error.code), clean_text(error.message, limits::kErrorTextBytes));
}

std::string encode_error(const Error& error) {
  v1::ErrorDetail m;
  m.set_code(static_cast<uint32_t>(error.code));
  m.set_message(clean_text(error.message, limits::kErrorTextBytes));
  m.set_head_version(error.head_version);
  return m.SerializeAsString();
}

Error decode_error(std::string_view detail) {
  v1::ErrorDetail m;
  if (!m.ParseFromArray(detail.data(), static_cast<int>(detail.size())))
    return fail(Code::internal, std::string(kErrorKey) + ": cannot be parsed");
  return Error{code_from(m.code()), clean_text(m.message(), limits::kErrorTextBytes),
               m.head_version()};
}

// gRPC's own, where that is only the name of the status, in words for people.
static std::string words_of(const grpc::Status& status) {
  std::string text = clean_text(status.error_message(), limits::kErrorTextBytes);
  if (text == "CANCELLED" || text == "Cancelled") return "the call was broken off";
  if (text == "Deadline Exceeded") return "no answer in time";
  if (text == "Socket closed") return "the connection was closed";
  return text;
}

Error error_of(const grpc::Status& status) {
  std::string text = words_of(status);
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return fail(Code::unavailable, std::move(text));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return fail(Code::timed_out, std::move(text));
    case grpc::StatusCode::CANCELLED:
      return fail(Code::interrupted, std::move(text));
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return fail(Code::busy, std::move(text));
    default:
      return fail(Code::internal,
                  "gRPC status " + std::to_string(status.error_code()) + ": " + text);
  }
}

}  // namespace linkspan::wire
