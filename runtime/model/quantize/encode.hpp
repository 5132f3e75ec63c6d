// One block of each type, encoded. codec.hpp's encode() walks over a row of them.
#pragma once

#include <model/quantize/blocks.hpp>

namespace brim::model {

// `x` has the block's 32 elements.
void encode_block(const float* x, BlockQ4_0& out);
void encode_block(const float* x, BlockQ4_1& out);
void encode_block(const float* x, BlockQ5_0& out);
void encode_block(const float* x, BlockQ5_1& out);
void encode_block(const float* x, BlockQ8_0& out);
void encode_block(const float* x, BlockIq4Nl& out);
void encode_block(const float* x, BlockMxfp4& out);

// `x` has the block's 256 elements.
void encode_block(const float* x, BlockQ2K& out);
void encode_block(const float* x, BlockQ3K& out);
void encode_block(const float* x, BlockQ4K& out);
void encode_block(const float* x, BlockQ5K& out);
void encode_block(const float* x, BlockQ6K& out);
void encode_block(const float* x, BlockIq4Xs& out);

}  // namespace brim::model
