// What is written is read by another library, and means the same.
#include <doctest/doctest.h>

#include <base/json.hpp>
#include <limits>
#include <nlohmann/json.hpp>

using brim::Json;

TEST_CASE("objects and lists nest, are separated, and keep their order") {
  Json json;
  json.object([&] {
    json.member("none", nullptr).member("yes", true).member("text", "a\"b\\c\n\x01");
    json.key("empty").object([] {});
    json.key("list").array([&] {
      json.value(1).value(-2).value("x");
      json.array([] {});
      json.object([&] { json.member("k", std::string("v")); });
    });
    json.member("last", 0.25);
  });
  CHECK(json.text().starts_with(R"({"none":null,"yes":true,)"));
  const auto read = nlohmann::json::parse(json.text());
  CHECK(read["none"].is_null());
  CHECK(read["yes"] == true);
  CHECK(read["text"] == "a\"b\\c\n\x01");
  CHECK(read["empty"] == nlohmann::json::object());
  CHECK(read["list"] == nlohmann::json::parse(R"([1,-2,"x",[],{"k":"v"}])"));
  CHECK(read["last"] == 0.25);
}

TEST_CASE("text of any bytes is read back, broken parts as U+FFFD") {
  for (int first = 0; first < 256; ++first) {
    for (const char* rest : {"", "a", "{", "[", ":", "\x80", "\xBF\xBF", "\x80\x80\x80"}) {
      const std::string bytes = std::string(1, static_cast<char>(first)) + rest;
      Json json;
      json.array([&] { json.value(bytes).value("next"); });
      const auto read = nlohmann::json::parse(json.text());
      CHECK(read.size() == 2);
      const auto text = read[0].get<std::string>();
      if (brim::is_utf8(bytes)) {
        CHECK(text == bytes);
      } else {
        CHECK(text.find("\xEF\xBF\xBD") != std::string::npos);
      }
    }
  }
}

TEST_CASE("numbers come back exactly; what is no number is null") {
  for (const double d : {0.0, -0.0, 0.1, 1e300, 5e-324, 123456789.125, double(1.1f)}) {
    Json json;
    json.value(d);
    CHECK(nlohmann::json::parse(json.text()).get<double>() == d);
  }
  for (const uint64_t n : {uint64_t{0}, UINT64_MAX}) CHECK(nlohmann::json::parse(Json().value(n).text()) == n);
  for (const int64_t n : {INT64_MIN, INT64_MAX}) CHECK(nlohmann::json::parse(Json().value(n).text()) == n);
  CHECK(Json().value(uint8_t{200}).text() == "200");
  CHECK(Json().value(std::numeric_limits<double>::infinity()).text() == "null");
  CHECK(Json().value(std::numeric_limits<double>::quiet_NaN()).text() == "null");
}
