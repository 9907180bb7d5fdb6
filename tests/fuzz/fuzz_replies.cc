// Replies, errors and frames of the stream as the mount reads them: a hostile router must not crash
// it. (What the mount then does with those that it takes in: fuzz_mount.cc.)
#include "linkspan/convert_status.h"
#include "tests/fuzz/messages.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  linkspan::fuzz::be_quiet();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace linkspan;
  using namespace linkspan::fuzz;
  if (size == 0) return 0;
  const char* rest = reinterpret_cast<const char*>(data) + 1;
  const uint8_t number = data[0] % (Replies::kCount + 1);
  if (number == Replies::kCount) {
    const Error error = wire::decode_error({rest, size - 1});
    require(error.message.size() <= limits::kErrorTextBytes, "an error's words are cut");
    const Error again = wire::decode_error(wire::encode_error(error));
    require(again.code == error.code && again.message == error.message, "an error stays the same");
  }
  Replies::with(number, [&]<class Wire>() { there_and_back<Wire>(rest, size - 1); });
  return 0;
}
