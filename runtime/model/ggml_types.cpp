#include <algorithm>
#include <array>
#include <model/ggml_types.hpp>

namespace brim::model {
namespace {

constexpr std::array kTypes = {
    GgmlType{0, "f32", 1, 4, BRIM_DTYPE_F32},          GgmlType{1, "f16", 1, 2, BRIM_DTYPE_F16},
    GgmlType{2, "q4_0", 32, 18, BRIM_DTYPE_Q4_0},      GgmlType{3, "q4_1", 32, 20, BRIM_DTYPE_Q4_1},
    GgmlType{6, "q5_0", 32, 22, BRIM_DTYPE_Q5_0},      GgmlType{7, "q5_1", 32, 24, BRIM_DTYPE_Q5_1},
    GgmlType{8, "q8_0", 32, 34, BRIM_DTYPE_Q8_0},      GgmlType{9, "q8_1", 32, 36, BRIM_DTYPE_NONE},
    GgmlType{10, "q2_K", 256, 84, BRIM_DTYPE_Q2_K},    GgmlType{11, "q3_K", 256, 110, BRIM_DTYPE_Q3_K},
    GgmlType{12, "q4_K", 256, 144, BRIM_DTYPE_Q4_K},   GgmlType{13, "q5_K", 256, 176, BRIM_DTYPE_Q5_K},
    GgmlType{14, "q6_K", 256, 210, BRIM_DTYPE_Q6_K},   GgmlType{15, "q8_K", 256, 292, BRIM_DTYPE_NONE},
    GgmlType{16, "iq2_xxs", 256, 66, BRIM_DTYPE_NONE}, GgmlType{17, "iq2_xs", 256, 74, BRIM_DTYPE_NONE},
    GgmlType{18, "iq3_xxs", 256, 98, BRIM_DTYPE_NONE}, GgmlType{19, "iq1_s", 256, 50, BRIM_DTYPE_NONE},
    GgmlType{20, "iq4_nl", 32, 18, BRIM_DTYPE_IQ4_NL}, GgmlType{21, "iq3_s", 256, 110, BRIM_DTYPE_NONE},
    GgmlType{22, "iq2_s", 256, 82, BRIM_DTYPE_NONE},   GgmlType{23, "iq4_xs", 256, 136, BRIM_DTYPE_IQ4_XS},
    GgmlType{24, "i8", 1, 1, BRIM_DTYPE_I8},           GgmlType{25, "i16", 1, 2, BRIM_DTYPE_I16},
    GgmlType{26, "i32", 1, 4, BRIM_DTYPE_I32},         GgmlType{27, "i64", 1, 8, BRIM_DTYPE_I64},
    GgmlType{28, "f64", 1, 8, BRIM_DTYPE_F64},         GgmlType{29, "iq1_m", 256, 56, BRIM_DTYPE_NONE},
    GgmlType{30, "bf16", 1, 2, BRIM_DTYPE_BF16},       GgmlType{34, "tq1_0", 256, 54, BRIM_DTYPE_NONE},
    GgmlType{35, "tq2_0", 256, 66, BRIM_DTYPE_NONE},   GgmlType{39, "mxfp4", 32, 17, BRIM_DTYPE_MXFP4},
    GgmlType{40, "nvfp4", 64, 36, BRIM_DTYPE_NONE},    GgmlType{41, "q1_0", 128, 18, BRIM_DTYPE_NONE},
    GgmlType{42, "q2_0", 64, 18, BRIM_DTYPE_NONE},
};

struct FileType {
  uint64_t id;
  std::string_view name;
};

constexpr std::array kFileTypes = {
    FileType{0, "F32"},      FileType{1, "F16"},     FileType{2, "Q4_0"},    FileType{3, "Q4_1"},
    FileType{7, "Q8_0"},     FileType{8, "Q5_0"},    FileType{9, "Q5_1"},    FileType{10, "Q2_K"},
    FileType{11, "Q3_K_S"},  FileType{12, "Q3_K_M"}, FileType{13, "Q3_K_L"}, FileType{14, "Q4_K_S"},
    FileType{15, "Q4_K_M"},  FileType{16, "Q5_K_S"}, FileType{17, "Q5_K_M"}, FileType{18, "Q6_K"},
    FileType{19, "IQ2_XXS"}, FileType{20, "IQ2_XS"}, FileType{21, "Q2_K_S"}, FileType{22, "IQ3_XS"},
    FileType{23, "IQ3_XXS"}, FileType{24, "IQ1_S"},  FileType{25, "IQ4_NL"}, FileType{26, "IQ3_S"},
    FileType{27, "IQ3_M"},   FileType{28, "IQ2_S"},  FileType{29, "IQ2_M"},  FileType{30, "IQ4_XS"},
    FileType{31, "IQ1_M"},   FileType{32, "BF16"},   FileType{36, "TQ1_0"},  FileType{37, "TQ2_0"},
    FileType{38, "MXFP4"},   FileType{39, "NVFP4"},
};

}  // namespace

const GgmlType* ggml_type(uint32_t id) {
  const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const GgmlType& type) { return type.id == id; });
  return found == kTypes.end() ? nullptr : &*found;
}

const GgmlType* ggml_type(std::string_view name) {
  const auto found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const GgmlType& type) { return type.name == name; });
  return found == kTypes.end() ? nullptr : &*found;
}

std::string_view file_type_name(uint64_t file_type) {
  // Bit 10 says that the number was guessed by the tool that wrote the file.
  const uint64_t id = file_type & ~uint64_t{1024};
  const auto found =
      std::find_if(kFileTypes.begin(), kFileTypes.end(), [&](const FileType& type) { return type.id == id; });
  return found == kFileTypes.end() ? std::string_view() : found->name;
}

}  // namespace brim::model
