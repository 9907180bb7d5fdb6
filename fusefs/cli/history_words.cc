#include "fusefs/cli/history_words.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace linkspan::cli {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kMostSeconds = 100ull * 366 * 86400;  // a hundred years back

bool all_digits(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// Up to 18 digits, so that it cannot overflow.
std::optional<uint64_t> number(const std::string& text) {
  if (!all_digits(text) || text.size() > 18) return std::nullopt;
  return std::stoull(text);
}

std::optional<Time> ago(const std::string& text, Time now) {
  if (text.size() < 2) return std::nullopt;
  const auto count = number(text.substr(0, text.size() - 1));
  uint64_t unit = 0;
  switch (text.back()) {
    case 's':
      unit = 1;
      break;
    case 'm':
      unit = 60;
      break;
    case 'h':
      unit = 3600;
      break;
    case 'd':
      unit = 86400;
      break;
    case 'w':
      unit = 7 * 86400;
      break;
    default:
      return std::nullopt;
  }
  if (!count || *count > kMostSeconds / unit) return std::nullopt;
  return Time{now.ns - static_cast<int64_t>(*count * unit) * kSecond};
}

std::optional<Time> midnight(Time now, int days_back) {
  const time_t seconds = static_cast<time_t>(now.ns / kSecond);
  tm parts{};
  ::localtime_r(&seconds, &parts);
  parts.tm_hour = parts.tm_min = parts.tm_sec = 0;
  parts.tm_mday -= days_back;
  parts.tm_isdst = -1;
  return Time{static_cast<int64_t>(::mktime(&parts)) * kSecond};
}

// One that a Time can say: up to 2262.
bool is_date(const tm& asked, tm* made, bool utc) {
  *made = asked;
  made->tm_isdst = -1;
  const time_t seconds = utc ? ::timegm(made) : ::mktime(made);
  // The 31st of June becomes the 1st of July: not what was asked.
  return seconds >= 0 && seconds < INT64_MAX / kSecond && made->tm_mday == asked.tm_mday &&
         made->tm_mon == asked.tm_mon;
}

std::optional<Time> date(std::string text) {
  const bool utc = !text.empty() && text.back() == 'Z';
  if (utc) text.pop_back();
  if (text.size() > 10 && text[10] == ' ') text[10] = 'T';
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, end = 0;
  const auto matches = [&](int fields, int wanted) {
    return fields == wanted && static_cast<size_t>(end) == text.size();
  };
  const bool whole =
      matches(std::sscanf(text.c_str(), "%4d-%2d-%2d%n", &year, &month, &day, &end), 3) ||
      matches(std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d%n", &year, &month, &day, &hour,
                          &minute, &end),
              5) ||
      matches(std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour,
                          &minute, &second, &end),
              6);
  if (!whole || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 ||
      minute < 0 || minute > 59 || second < 0 || second > 60)
    return std::nullopt;
  tm asked{}, made{};
  asked.tm_year = year - 1900;
  asked.tm_mon = month - 1;
  asked.tm_mday = day;
  asked.tm_hour = hour;
  asked.tm_min = minute;
  asked.tm_sec = second;
  if (!is_date(asked, &made, utc)) return std::nullopt;
  return Time{static_cast<int64_t>(utc ? ::timegm(&made) : ::mktime(&made)) * kSecond};
}

}  // namespace

PathVersion parse_path_version(const std::string& text) {
  const size_t at = text.find_last_of('@');
  if (at == std::string::npos || at == 0) return {text, {}};
  const auto version = number(text.substr(at + 1));
  if (!version || *version == 0) return {text, {}};
  return {text.substr(0, at), Version{*version}};
}

bool is_below(const std::string& path, const std::string& dir) {
  return dir.empty() || path == dir || path.rfind(dir + "/", 0) == 0;
}

Result<Time> parse_since(const std::string& text, Time now) {
  if (text == "today") return *midnight(now, 0);
  if (text == "yesterday") return *midnight(now, 1);
  if (const auto time = ago(text, now)) return *time;
  if (const auto time = date(text)) return *time;
  return fail(Code::invalid, "\"" + text +
                                 "\" is no time: write a duration (90s, 15m, 2h, 3d, 1w), today, "
                                 "yesterday, or a date like 2026-11-20 or 2026-11-20T14:30");
}

Result<Time> parse_until(const std::string& text, Time now) {
  if (const auto time = ago(text, now)) return Time{now.ns + (now.ns - time->ns)};
  if (const auto time = date(text)) return *time;
  return fail(Code::invalid, "\"" + text +
                                 "\" is no time: write a duration (90s, 15m, 2h, 3d, 1w) or a date "
                                 "like 2026-11-20 or 2026-11-20T14:30");
}

std::string shell_word(const std::string& text) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+,:=@%";
  if (!text.empty() && text[0] != '-' && text.find_first_not_of(kPlain) == std::string::npos)
    return text;
  // $'...' of bash and others: what is shown of control bytes must be what brings them back.
  const auto control = [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; };
  if (std::any_of(text.begin(), text.end(), control)) {
    std::string word = "$'";
    for (const char c : text) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02X", static_cast<unsigned>(c));
      if (control(c))
        word += escaped;
      else
        word += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    }
    return word + "'";
  }
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

}  // namespace linkspan::cli
