"""What methods and model cards cite."""

# By how a sentence names them, in the order of the list.
REFERENCES = {
    "Alipanahi et al. 2015": "Nature Biotechnology 33:831–838. doi:10.1038/nbt.3300",
    "Clark et al. 2020": "ELECTRA. ICLR. arXiv:2003.10555",
    "Dalla-Torre et al. 2025": "Nature Methods 22:287–297. doi:10.1038/s41592-024-02523-z",
    "Devlin et al. 2019": "BERT. NAACL. doi:10.18653/v1/N19-1423",
    "Efron 1987": "JASA 82:171–185. doi:10.1080/01621459.1987.10478410",
    "Hägele et al. 2024": "NeurIPS. arXiv:2405.18392",
    "Hu et al. 2022": "LoRA. ICLR. arXiv:2106.09685",
    "Ji et al. 2021": "DNABERT. Bioinformatics 37:2112–2120. doi:10.1093/bioinformatics/btab083",
    "Kelley et al. 2016": "Basset. Genome Research 26:990–999. doi:10.1101/gr.200535.115",
    "Lin et al. 2023": "ESM-2. Science 379:1123–1130. doi:10.1126/science.ade2574",
    "Liu et al. 2019": "RoBERTa. arXiv:1907.11692",
    "Loshchilov & Hutter 2019": "AdamW. ICLR. arXiv:1711.05101",
    "Mölder et al. 2021": "Snakemake. F1000Research 10:33. doi:10.12688/f1000research.29032.2",
    "Newcombe 2006": "Statistics in Medicine 25:559–573. doi:10.1002/sim.2324",
    "Paszke et al. 2019": "PyTorch. NeurIPS. arXiv:1912.01703",
    "Pedregosa et al. 2011": "scikit-learn. JMLR 12:2825–2830",
    "Sanh et al. 2019": "DistilBERT. arXiv:1910.01108",
    "Schmeiser 1982": "Operations Research 30:556–568. doi:10.1287/opre.30.3.556",
    "Sennrich et al. 2016": "ACL. doi:10.18653/v1/P16-1162",
    "Warner et al. 2024": "ModernBERT. arXiv:2412.13663",
    "Wilson 1927": "JASA 22:209–212. doi:10.1080/01621459.1927.10502953",
    "Wolf et al. 2020": "Transformers. EMNLP. doi:10.18653/v1/2020.emnlp-demos.6",
    "Wolpert 1992": "Neural Networks 5:241–259. doi:10.1016/S0893-6080(05)80023-1",
    "Zou & Donner 2008": "Statistics in Medicine 27:1693–1702. doi:10.1002/sim.3095",
}
FAMILY_NAMES = {
    "modernbert": "ModernBERT (Warner et al. 2024)",
    "bert": "BERT (Devlin et al. 2019)",
    "roberta": "RoBERTa (Liu et al. 2019)",
    "distilbert": "DistilBERT (Sanh et al. 2019)",
    "esm": "ESM (Lin et al. 2023)",
    "electra": "ELECTRA encoder (Clark et al. 2020)",
}


def cited(texts: list[str]) -> list[tuple[str, str]]:
    """What these texts cite: how they name it, and where it is."""
    return [(name, place) for name, place in REFERENCES.items() if any(name in text for text in texts)]
