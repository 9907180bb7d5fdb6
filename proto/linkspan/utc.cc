#include "linkspan/utc.h"

#include <cstdio>
#include <ctime>

namespace linkspan {

std::string utc(Time time, int digits) {
  constexpr int64_t kSecond = 1'000'000'000;
  int64_t seconds = time.ns / kSecond, rest = time.ns % kSecond;
  if (rest < 0) --seconds, rest += kSecond;
  const std::time_t when = seconds;
  std::tm parts{};
  gmtime_r(&when, &parts);  // every Time is in a year that tm holds
  char text[64], fraction[16];
  std::string out(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts));
  std::snprintf(fraction, sizeof fraction, ".%09d", static_cast<int>(rest));
  if (digits > 0) out.append(fraction, static_cast<size_t>(digits) + 1);
  return out + "Z";
}

}  // namespace linkspan
