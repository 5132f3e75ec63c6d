// Functions of one number to within 4 units in the last place, made of additions, multiplications, divisions and bit
// operations alone: what drivers offer under the same names is exact to a few digits only. Polynomials are Cephes's
// (Moshier, Methods and Programs for Mathematical Functions, 1989) for F32; erf is that of Sun's fdlibm in F32.

float exponential(float x) {
  if (is_nan(x)) return x;
  if (x > 89.0) return kInfinity;
  if (x < -104.0) return 0.0;
  const float n = roundEven(x * 1.44269504088896341);
  precise float r = x - n * 0.693359375;
  r = r + n * 2.12194440e-4;
  float p = 1.9875691500e-4;
  p = p * r + 1.3981999507e-3;
  p = p * r + 8.3334519073e-3;
  p = p * r + 4.1665795894e-2;
  p = p * r + 1.6666665459e-1;
  p = p * r + 5.0000001201e-1;
  p = p * (r * r) + r + 1.0;
  // 2^n in two factors, so that neither leaves the range of normal numbers.
  const int whole = int(n), first = whole >> 1;
  return p * uintBitsToFloat(uint(first + 127) << 23) * uintBitsToFloat(uint(whole - first + 127) << 23);
}

float logarithm(float x) {
  if (is_nan(x) || x == kInfinity) return x;
  if (x < 0.0) return uintBitsToFloat(0x7fc00000u);
  if (x == 0.0) return -kInfinity;
  float e = 0.0;
  if (x < 1.17549435e-38) {
    x *= 16777216.0;
    e = -24.0;
  }
  const uint bits = floatBitsToUint(x);
  e += float(int(bits >> 23) - 126);
  float m = uintBitsToFloat((bits & 0x7fffffu) | 0x3f000000u);  // [0.5, 1)
  if (m < 0.707106781186547524) {
    e -= 1.0;
    m = m + m - 1.0;
  } else {
    m = m - 1.0;
  }
  const float z = m * m;
  float p = 7.0376836292e-2;
  p = p * m - 1.1514610310e-1;
  p = p * m + 1.1676998740e-1;
  p = p * m - 1.2420140846e-1;
  p = p * m + 1.4249322787e-1;
  p = p * m - 1.6668057665e-1;
  p = p * m + 2.0000714765e-1;
  p = p * m - 2.4999993993e-1;
  p = p * m + 3.3333331174e-1;
  p = p * m * z;
  p += e * -2.12194440e-4;
  p -= 0.5 * z;
  return m + p + e * 0.693359375;
}

// log(1 + x) for x in [0, 1].
float logarithm_plus_one(float x) {
  precise const float u = 1.0 + x;
  precise const float lost = x - (u - 1.0);
  return logarithm(u) + lost / u;
}

// Sine and cosine of an angle within [-pi/4, pi/4].
float short_sine(float x) {
  const float z = x * x;
  float p = -1.9515295891e-4;
  p = p * z + 8.3321608736e-3;
  p = p * z - 1.6666654611e-1;
  return p * z * x + x;
}
float short_cosine(float x) {
  const float z = x * x;
  float p = 2.443315711809948e-5;
  p = p * z - 1.388731625493765e-3;
  p = p * z + 4.166664568298827e-2;
  return p * z * z - 0.5 * z + 1.0;
}
// (cos, sin) of an angle given as a quarter number and the rest within [-pi/4, pi/4].
vec2 turned(uint quarter, float rest) {
  const float s = short_sine(rest), c = short_cosine(rest);
  const vec2 v = (quarter & 1u) == 0 ? vec2(c, s) : vec2(-s, c);
  return (quarter & 2u) == 0 ? v : -v;
}

// (cos, sin) of x in radians. The range reduction multiplies x's 24 bits with as many digits of 2 / pi as they need
// (Payne and Hanek, 1983), so it is exact for every x.
vec2 cosine_and_sine(float x) {
  const uint bits = floatBitsToUint(x), magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x7f800000u) return vec2(uintBitsToFloat(0x7fc00000u));
  if (magnitude < 0x3f490fdbu) return vec2(short_cosine(x), short_sine(x));  // below pi/4
  const uint kTwoOverPi[] = {0u,          0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                             0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};
  const int exponent = int(magnitude >> 23) - 150;  // x = m 2^exponent, m of 24 bits
  const uint64_t m = uint64_t((bits & 0x7fffffu) | 0x800000u);
  // 96 bits of 2 / pi from bit `exponent` - 2 on, so that the product's top two bits count quarters.
  const int first = exponent + 30;  // of the table, whose first word stands before the point
  const uint word = uint(first) >> 5, shift = uint(first) & 31u;
  uint digits[3];
  for (uint i = 0; i < 3; ++i) {
    digits[i] = shift == 0 ? kTwoOverPi[word + i]
                           : (kTwoOverPi[word + i] << shift) | (kTwoOverPi[word + i + 1] >> (32u - shift));
  }
  uint64_t product = (m * uint64_t(digits[0])) << 32;
  product += m * uint64_t(digits[1]);
  product += (m * uint64_t(digits[2])) >> 32;
  const uint quarter = uint((product + 0x2000000000000000ul) >> 62);
  const int64_t rest = int64_t(product - (uint64_t(quarter) << 62));
  const vec2 v = turned(quarter, float(rest) * (1.57079632679489662 / 4611686018427387904.0));
  return vec2(v.x, (bits >> 31) == 0 ? v.y : -v.y);
}

float tangens_h(float x) {
  const float a = abs(x);
  if (a < 0.625) {
    const float z = x * x;
    float p = -5.70498872745e-3;
    p = p * z + 2.06390887954e-2;
    p = p * z - 5.37397155531e-2;
    p = p * z + 1.33314422036e-1;
    p = p * z - 3.33332819422e-1;
    return p * z * x + x;
  }
  const float y = 1.0 - 2.0 / (exponential(a + a) + 1.0);
  return x < 0.0 ? -y : y;
}

float sigmoid(float x) { return 1.0 / (1.0 + exponential(-x)); }
float silu(float x) { return x / (1.0 + exponential(-x)); }
// x / 2 * (1 + tanh(u)) is x * sigmoid(2 u), which loses nothing where tanh is near -1.
float gelu_tanh(float x) { return x * sigmoid(1.59576912160573 * (x + 0.044715 * x * x * x)); }

// x / 2 * erfc(-x / sqrt(2)).
float gelu(float x) {
  const float u = x * 0.707106781186547524, a = abs(u);
  if (a < 0.84375) {
    const float z = u * u;
    const float num =
        1.28379167e-1 + z * (-3.25042107e-1 + z * (-2.84817495e-2 + z * (-5.77027029e-3 - z * 2.37630166e-5)));
    const float den =
        1.0 + z * (3.97917223e-1 + z * (6.50222499e-2 + z * (5.08130628e-3 + z * (1.32494738e-4 - z * 3.96022827e-6))));
    return 0.5 * x * (1.0 + (u + u * (num / den)));
  }
  // erfc(a), then what it is for the sign.
  float c;
  if (a < 1.25) {
    const float s = a - 1.0;
    const float num = -2.36211856e-3 +
                      s * (4.14856119e-1 +
                           s * (-3.72207876e-1 +
                                s * (3.18346620e-1 + s * (-1.10894694e-1 + s * (3.54783043e-2 - s * 2.16637559e-3)))));
    const float den =
        1.0 +
        s * (1.06420880e-1 +
             s * (5.40397917e-1 + s * (7.18286544e-2 + s * (1.26171219e-1 + s * (1.36370839e-2 + s * 1.19844998e-2)))));
    c = 1.0 - 8.45062911510467529297e-1 - num / den;
  } else if (a < 10.0) {
    const float s = 1.0 / (a * a);
    float num, den;
    if (a < 2.857142857) {
      num = -9.86494403e-3 +
            s * (-6.93858573e-1 +
                 s * (-1.05586262e1 +
                      s * (-6.23753324e1 +
                           s * (-1.62396669e2 + s * (-1.84605093e2 + s * (-8.12874355e1 - s * 9.81432934))))));
      den =
          1.0 + s * (1.96512717e1 +
                     s * (1.37657754e2 +
                          s * (4.34565877e2 +
                               s * (6.45387272e2 +
                                    s * (4.29008140e2 + s * (1.08635005e2 + s * (6.57024977 - s * 6.04244152e-2)))))));
    } else {
      num = -9.86494292e-3 +
            s * (-7.99283237e-1 +
                 s * (-1.77579549e1 +
                      s * (-1.60636385e2 + s * (-6.37566443e2 + s * (-1.02509513e3 - s * 4.83519192e2)))));
      den = 1.0 + s * (3.03380607e1 +
                       s * (3.25792513e2 +
                            s * (1.53672958e3 +
                                 s * (3.19985822e3 + s * (2.55305041e3 + s * (4.74528541e2 - s * 2.24409524e1))))));
    }
    const float z = uintBitsToFloat(floatBitsToUint(a) & 0xfffff000u);
    precise const float whole = -z * z - 0.5625;
    precise const float rest = (z - a) * (z + a) + num / den;
    c = exponential(whole) * exponential(rest) / a;
  } else if (is_nan(a)) {
    return x;
  } else {
    c = 0.0;
  }
  return x < 0.0 ? 0.5 * x * c : 0.5 * x * (2.0 - c);
}

// max(x, 0) + log(1 + exp(-|x|))
float softplus(float x) { return is_nan(x) ? x : max(x, 0.0) + logarithm_plus_one(exponential(-abs(x))); }
float soft_cap(float x, float cap) { return cap * tangens_h(x / cap); }
